#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// What the values of options mean that several backends have.
extension LockURL {
    package static func maximumWaiters(_ text: String) throws(LockError) -> Int {
        guard let number = Int(text), (1...1_000_000).contains(number) else {
            throw Self.invalid("max-waiters is a number from 1 to 1000000, not '\(text)'")
        }
        return number
    }

    package static func database(_ text: String) throws(LockError) -> Int {
        guard let number = Int(text), (0...1_000_000).contains(number),
            text.utf8.allSatisfy({ $0 >= 0x30 && $0 <= 0x39 })
        else { throw Self.invalid("a database is a number from 0, not '\(text)'") }
        return number
    }

    package static func environmentVariable(_ name: String, option: String = "password-env") throws(LockError) -> String
    {
        guard let value = getenv(name) else {
            throw Self.invalid("\(option) names the environment variable '\(name)', which is not set")
        }
        return String(cString: value)
    }

    /// The first line of a file, which is short: a password.
    package static func firstLine(ofFile path: String, option: String = "password-file") throws(LockError) -> String {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            throw Self.invalid("\(option) '\(path)' cannot be read: \(String(cString: strerror(errno)))")
        }
        defer { close(descriptor) }
        var bytes = [UInt8](repeating: 0, count: 4_096)
        let count = read(descriptor, &bytes, bytes.count)
        guard count >= 0, let text = String(validating: bytes.prefix(count), as: UTF8.self) else {
            throw Self.invalid("\(option) '\(path)' cannot be read, or is not UTF-8 text")
        }
        return String(text.prefix { !$0.isNewline })
    }

    /// A number with `ms` or `s` behind it.
    package static func duration(_ text: String) -> Duration? {
        for (unit, scale) in [("ms", 1), ("s", 1_000)] where text.hasSuffix(unit) {
            let digits = text.dropLast(unit.count)
            guard !digits.isEmpty, digits.utf8.count <= 9, digits.utf8.allSatisfy({ $0 >= 0x30 && $0 <= 0x39 }),
                let number = Int(digits)
            else { return nil }
            return .milliseconds(number * scale)
        }
        return nil
    }
}
