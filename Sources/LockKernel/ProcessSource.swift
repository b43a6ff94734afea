/// Which process this is, as people on other hosts are told.
package protocol ProcessSource: Sendable {
    var hostName: String { get }
    /// In its own process id namespace.
    var number: Int32 { get }
}

/// The process itself.
package struct SystemProcess: ProcessSource {
    package init() {}

    /// `unknown` where the host has no name.
    package var hostName: String {
        var buffer = [CChar](repeating: 0, count: 256)
        guard gethostname(&buffer, buffer.count - 1) == 0 else { return "unknown" }
        return String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    package var number: Int32 { getpid() }
}
