import LockKernel

/// Where a password comes from that does not stand in the URL.
///
/// Who mistakes an option gives it the password itself. So errors name a file or a variable only if it looks like one.
package enum SecretSource {
    /// A password is no longer than this.
    private static let maximumLineLengthInBytes = 65_536
    /// Some editors put it at the beginning of a file.
    private static let byteOrderMark: [UInt8] = [0xEF, 0xBB, 0xBF]

    package static func environmentVariable(_ name: String, option: String) throws(LockError) -> String {
        let shown = Self.isVariableName(name) ? "the environment variable '\(name)'" : "an environment variable"
        guard let value = getenv(name) else {
            let advice = Self.isVariableName(name) ? "" : " (it takes the name of a variable, such as REDIS_PASSWORD)"
            throw LockURL.invalid("\(option) names \(shown), which is not set\(advice)")
        }
        guard let text = String(validatingCString: value) else {
            throw LockURL.invalid("\(option) names \(shown), which is not UTF-8 text")
        }
        return text
    }

    /// By convention.
    private static func isVariableName(_ name: String) -> Bool {
        guard let first = name.utf8.first, !(first >= 0x30 && first <= 0x39) else { return false }
        return name.utf8.allSatisfy {
            ($0 >= 0x41 && $0 <= 0x5A) || ($0 >= 0x30 && $0 <= 0x39) || $0 == UInt8(ascii: "_")
        }
    }

    /// The first line of a file, without a byte order mark. The file may be a pipe: it is read up to the end of that line.
    package static func firstLine(ofFile path: String, option: String) throws(LockError) -> String {
        let shown = path.utf8.contains(UInt8(ascii: "/")) ? "\(option) '\(path)'" : "the file that \(option) names"
        func failed() -> LockError {
            let reason = String(cString: strerror(errno))
            let advice =
                path.utf8.contains(UInt8(ascii: "/"))
                ? "" : " (it takes the path of a file, such as /run/secrets/redis)"
            return LockURL.invalid("\(shown) cannot be read: \(reason)\(advice)")
        }
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY)
        guard descriptor >= 0 else { throw failed() }
        defer { close(descriptor) }
        var line: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 4_096)
        while true {
            let count = read(descriptor, &chunk, chunk.count)
            if count < 0 && errno == EINTR { continue }
            guard count >= 0 else { throw failed() }
            let end = chunk[..<count].firstIndex { $0 == UInt8(ascii: "\n") || $0 == UInt8(ascii: "\r") }
            line += chunk[..<(end ?? count)]
            guard line.count <= Self.maximumLineLengthInBytes else {
                throw LockURL.invalid(
                    "the first line of \(shown) is longer than \(Self.maximumLineLengthInBytes) bytes: it holds no password"
                )
            }
            if end != nil || count == 0 { break }
        }
        if line.starts(with: Self.byteOrderMark) { line.removeFirst(Self.byteOrderMark.count) }
        guard !line.contains(0), let text = String(validating: line, as: UTF8.self) else {
            throw LockURL.invalid("the first line of \(shown) is not UTF-8 text")
        }
        return text
    }
}
