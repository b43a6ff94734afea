import Fencing
import Foundation

/// Where a page goes: standard output, or a file that is replaced in one step.
struct PageFile {
    private enum Place {
        case standardOutput
        /// A device, a pipe: what cannot be replaced.
        case written(PathBytes)
        case replaced(PathBytes, mode: mode_t?)
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
        let given = PathBytes(RawText.bytes(name))
        let path = given.real ?? given
        guard let status = path.status else {
            guard errno == ENOENT else { throw Self.failure(name, errno) }
            self.place = .replaced(path, mode: nil)
            try self.withNewFile(beside: path, mode: nil) { _ in }
            return
        }
        guard status.st_mode & S_IFMT != S_IFDIR else { throw Self.failure(name, EISDIR) }
        guard path.withCString({ access($0, W_OK) }) == 0 else { throw Self.failure(name, errno) }
        guard status.st_mode & S_IFMT == S_IFREG else {
            self.place = .written(path)
            return
        }
        self.place = .replaced(path, mode: status.st_mode & 0o7777)
        try self.withNewFile(beside: path, mode: nil) { _ in }
    }

    /// Writes all of it, or leaves the file as it was.
    ///
    /// - Throws: ``Failure`` with 73.
    func write(_ text: String) throws {
        switch self.place {
        case .standardOutput:
            Console.print(text, terminator: "")
        case .written(let path):
            let descriptor = path.withCString { open($0, O_WRONLY | O_CLOEXEC) }
            guard descriptor >= 0 else { throw Self.failure(self.name, errno) }
            defer { close(descriptor) }
            let code = Console.write(text, to: descriptor)
            guard code == 0 else { throw Self.failure(self.name, code) }
        case .replaced(let path, let mode):
            try self.withNewFile(beside: path, mode: mode) { file throws(FencedFileError) in
                try file.write(text)
                try file.sync()
                try file.takePlace()
            }
        }
    }

    /// Makes a file beside another, which is gone afterwards unless it has taken its place.
    private func withNewFile(
        beside path: PathBytes,
        mode: mode_t?,
        _ body: (TemporaryFile) throws(FencedFileError) -> Void
    ) throws {
        do throws(FencedFileError) {
            let file = try TemporaryFile(beside: path, mode: mode)
            defer { file.discard() }
            try body(file)
        } catch {
            throw Failure(
                status: ExitStatus.cannotWrite, message: "the page '\(self.name)' cannot be written: \(error.message)")
        }
    }

    private static func failure(_ name: String, _ code: Int32) -> Failure {
        Failure(
            status: ExitStatus.cannotWrite,
            message: "the page '\(name)' cannot be written: \(String(cString: strerror(code)))"
        )
    }
}
