package import LockKernel

/// A path as the system knows it: bytes, which need not be text.
package struct PathBytes: Hashable, Sendable {
    package let bytes: [UInt8]

    package init(_ bytes: some Sequence<UInt8>) { self.bytes = Array(bytes) }

    package init(_ text: String) { self.bytes = Array(text.utf8) }

    init(cString: UnsafePointer<CChar>) {
        self.bytes = Array(UnsafeRawBufferPointer(start: cString, count: strlen(cString)))
    }

    private static let slash = UInt8(ascii: "/")

    package var isEmpty: Bool { self.bytes.isEmpty }
    var endsWithSlash: Bool { self.bytes.last == Self.slash }
    var hasControlCharacters: Bool { self.bytes.contains { $0 < 0x20 || $0 == 0x7F } }

    /// For people. What is no text is shown as U+FFFD.
    var shown: String { String(decoding: self.bytes, as: UTF8.self) }

    /// What the path is in; `.` for a name alone.
    var folder: PathBytes {
        guard let slash = self.bytes.lastIndex(of: Self.slash) else { return PathBytes(".") }
        return slash == 0 ? PathBytes("/") : PathBytes(self.bytes[..<slash])
    }

    /// What stands after the last slash.
    var name: PathBytes { PathBytes(self.bytes[((self.bytes.lastIndex(of: Self.slash) ?? -1) + 1)...]) }

    /// A name in this folder.
    func appending(_ name: PathBytes) -> PathBytes {
        PathBytes(self.bytes + (self.endsWithSlash ? [] : [Self.slash]) + name.bytes)
    }

    package func withCString<Result>(_ body: (UnsafePointer<CChar>) -> Result) -> Result {
        (self.bytes + [0]).withUnsafeBytes { body($0.baseAddress!.assumingMemoryBound(to: CChar.self)) }
    }

    /// With all symbolic links resolved; `nil` with `errno` if it does not exist.
    package var real: PathBytes? {
        guard let resolved = self.withCString({ realpath($0, nil) }) else { return nil }
        defer { free(resolved) }
        return PathBytes(cString: resolved)
    }

    /// What it is, with links followed; `nil` with `errno`.
    package var status: stat? {
        var status = stat()
        return self.withCString { stat($0, &status) } == 0 ? status : nil
    }

    /// What it is itself; `nil` with `errno`.
    var ownStatus: stat? {
        var status = stat()
        return self.withCString { lstat($0, &status) } == 0 ? status : nil
    }
}
