import Foundation

/// Where a page goes: standard output, or a file that is replaced in one step.
struct PageFile {
    private enum Place {
        case standardOutput
        /// A device, a pipe: what cannot be replaced.
        case written(path: String)
        case replaced(path: String, mode: mode_t?)
    }

    private let place: Place
    /// As the user wrote it.
    private let name: String

    var isStandardOutput: Bool { if case .standardOutput = self.place { true } else { false } }

    /// Finds out whether the file can be written, and leaves nothing behind.
    ///
    /// - Throws: ``Failure`` with 73 if not, 64 if the name is empty.
    init(_ name: String) throws {
        self.name = name
        if name == "-" {
            self.place = .standardOutput
            return
        }
        guard !name.isEmpty else {
            throw Failure(status: ExitStatus.usage, message: "--html is the name of a file, or - for standard output")
        }
        // What a symbolic link leads to is replaced, not the link.
        let path = Self.resolved(name)
        var status = stat()
        guard stat(path, &status) == 0 else {
            guard errno == ENOENT else { throw Self.failure(name, errno) }
            self.place = .replaced(path: path, mode: nil)
            try Self.probe(path, name)
            return
        }
        guard status.st_mode & S_IFMT != S_IFDIR else { throw Self.failure(name, EISDIR) }
        guard access(path, W_OK) == 0 else { throw Self.failure(name, errno) }
        guard status.st_mode & S_IFMT == S_IFREG else {
            self.place = .written(path: path)
            return
        }
        self.place = .replaced(path: path, mode: status.st_mode & 0o7777)
        try Self.probe(path, name)
    }

    /// Writes all of it, or leaves the file as it was.
    ///
    /// - Throws: ``Failure`` with 73.
    func write(_ text: String) throws {
        switch self.place {
        case .standardOutput:
            Console.print(text, terminator: "")
        case .written(let path):
            let descriptor = open(path, O_WRONLY | O_CLOEXEC)
            guard descriptor >= 0 else { throw Self.failure(self.name, errno) }
            defer { close(descriptor) }
            try Self.write(text, to: descriptor, self.name)
        case .replaced(let path, let mode):
            let temporary = Self.temporaryName(beside: path)
            let descriptor = try Self.created(temporary, self.name)
            var isInPlace = false
            defer {
                close(descriptor)
                if !isInPlace { unlink(temporary) }
            }
            try Self.write(text, to: descriptor, self.name)
            if let mode, fchmod(descriptor, mode) != 0 { throw Self.failure(self.name, errno) }
            guard fsync(descriptor) == 0, rename(temporary, path) == 0 else { throw Self.failure(self.name, errno) }
            isInPlace = true
        }
    }

    private static func probe(_ path: String, _ name: String) throws {
        let temporary = Self.temporaryName(beside: path)
        close(try Self.created(temporary, name))
        unlink(temporary)
    }

    private static func created(_ path: String, _ name: String) throws -> Int32 {
        let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o666)
        guard descriptor >= 0 else { throw Self.failure(name, errno) }
        return descriptor
    }

    private static func temporaryName(beside path: String) -> String {
        let slash = path.lastIndex(of: "/").map { path.index(after: $0) } ?? path.startIndex
        return path[..<slash] + ".dlock-\(getpid())-\(String(UInt64.random(in: 0...UInt64.max), radix: 36))"
    }

    private static func resolved(_ path: String) -> String {
        guard let resolved = realpath(path, nil) else { return path }
        defer { free(resolved) }
        return String(cString: resolved)
    }

    private static func write(_ text: String, to descriptor: Int32, _ name: String) throws {
        var rest = Array(text.utf8)[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Foundation.write(descriptor, $0.baseAddress, $0.count) }
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { throw Self.failure(name, errno) }
            rest = rest.dropFirst(count)
        }
    }

    private static func failure(_ name: String, _ code: Int32) -> Failure {
        Failure(
            status: ExitStatus.cannotWrite,
            message: "the page '\(name)' cannot be written: \(String(cString: strerror(code)))"
        )
    }
}
