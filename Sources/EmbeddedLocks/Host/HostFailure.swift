#if Embedded
import LockKernel

/// What the host answered instead of doing it.
package struct HostFailure: Error, Hashable {
    /// As in `errno`.
    package let code: Int32

    package init(_ code: Int32) { self.code = code }

    /// What the last call of the C library gave.
    static var last: HostFailure { HostFailure(errno) }

    /// For people.
    var text: String { String(cString: strerror(self.code)) }
}
#endif
