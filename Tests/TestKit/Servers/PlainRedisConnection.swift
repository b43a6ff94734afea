import Foundation
import LockKernel

/// What a server answered, in RESP2.
package indirect enum RedisAnswer: Equatable, Sendable {
    case text(String)
    case integer(Int64)
    case error(String)
    case list([RedisAnswer])
    case null

    /// The text; empty if it is none.
    package var string: String {
        switch self {
        case .text(let text), .error(let text): text
        case .integer(let number): String(number)
        case .list, .null: ""
        }
    }

    package var integer: Int64? {
        if case .integer(let number) = self { number } else { nil }
    }

    package var list: [RedisAnswer]? {
        if case .list(let answers) = self { answers } else { nil }
    }

    package var isError: Bool {
        if case .error = self { true } else { false }
    }
}

/// A connection that blocks, to look at a server from beside the code under test.
package final class PlainRedisConnection {
    private let descriptor: Int32
    private var pending: [UInt8] = []
    private var offset = 0

    package init(port: Int) throws {
        self.descriptor = try LoopbackSocket.connected(toPort: port, patienceInSeconds: 10)
    }

    package func close() { _ = systemClose(self.descriptor) }

    package func command(_ words: String...) throws -> RedisAnswer { try self.command(words) }

    package func command(_ words: [String]) throws -> RedisAnswer {
        try self.send(words)
        return try self.answer()
    }

    package func send(_ words: [String]) throws {
        var bytes = Array("*\(words.count)\r\n".utf8)
        for word in words { bytes += Array("$\(word.utf8.count)\r\n\(word)\r\n".utf8) }
        var sent = 0
        while sent < bytes.count {
            let count = bytes[sent...].withUnsafeBytes { write(self.descriptor, $0.baseAddress, $0.count) }
            guard count > 0 else { throw TestKitError("the connection was lost while writing") }
            sent += count
        }
    }

    /// Waits for the next answer or message.
    package func answer() throws -> RedisAnswer {
        let line = try self.line()
        guard let kind = line.first else { throw TestKitError("an empty line") }
        let rest = String(line.dropFirst())
        switch kind {
        case "+": return .text(rest)
        case "-": return .error(rest)
        case ":": return .integer(Int64(rest) ?? 0)
        case "$":
            guard let length = Int(rest), length >= 0 else { return .null }
            let bytes = try self.take(length + 2)
            return .text(String(decoding: bytes.dropLast(2), as: UTF8.self))
        case "*":
            guard let count = Int(rest), count >= 0 else { return .null }
            return .list(try (0..<count).map { _ in try self.answer() })
        case _: throw TestKitError("'\(line)' is no answer")
        }
    }

    private func line() throws -> String {
        var end = self.offset
        while true {
            while end + 1 < self.pending.count {
                if self.pending[end] == 0x0D, self.pending[end + 1] == 0x0A {
                    defer { self.offset = end + 2 }
                    return String(decoding: self.pending[self.offset..<end], as: UTF8.self)
                }
                end += 1
            }
            try self.readMore()
        }
    }

    private func take(_ count: Int) throws -> ArraySlice<UInt8> {
        while self.pending.count - self.offset < count { try self.readMore() }
        defer { self.offset += count }
        return self.pending[self.offset..<self.offset + count]
    }

    private func readMore() throws {
        var buffer = [UInt8](repeating: 0, count: 65_536)
        let count = read(self.descriptor, &buffer, buffer.count)
        guard count > 0 else { throw TestKitError("the connection was lost while reading") }
        self.pending += buffer.prefix(count)
    }
}

private func systemClose(_ descriptor: Int32) -> Int32 { close(descriptor) }
