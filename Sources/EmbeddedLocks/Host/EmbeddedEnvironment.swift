#if Embedded
import DistributedLocks
package import LockKernel

/// The embedded backend's door to the outside: the machine's environment, and the files and sockets of the host that it is
/// on. Whoever puts others in their place runs the same code on a host of their own.
package final class EmbeddedEnvironment: Sendable {
    package let machine: Environment
    package let files: any HostFiles
    package let sockets: any HostSockets
    /// By how much the boot clock that this process sees is ahead of the machine's. A process with threads cannot change its
    /// time namespace, so it is read once.
    private let bootClockOffset: Int64

    /// The machine's own.
    package static let system = EmbeddedEnvironment(.system)

    package init(
        _ machine: Environment,
        files: any HostFiles = SystemFiles(),
        sockets: any HostSockets = SystemSockets()
    ) {
        self.machine = machine
        self.files = files
        self.sockets = sockets
        self.bootClockOffset = TimeNamespace.offset(files) ?? 0
    }

    /// The present instant of the clock that is the same for every process of the machine.
    var bootTime: BootTime { BootTime(nanoseconds: self.machine.time.bootTime() - self.bootClockOffset) }

    /// Microseconds since 1970 by the wall clock.
    func wallClock() -> Int64 { self.machine.time.wallClock() }

    /// The same instant on the clock that validity is judged by, never a later one: the other clock is read first, so
    /// that whatever passes between the two readings makes the result earlier.
    func instant(of time: BootTime) -> BootInstant {
        let continuous = self.machine.now
        return continuous + (time - self.bootTime)
    }

    #if os(Linux)
    private static let bootIDSource = "/proc/sys/kernel/random/boot_id"
    #else
    private static let bootIDSource = "kern.bootsessionuuid"
    #endif

    /// Names the present boot of the machine.
    ///
    /// - Throws: `LockError` `invalidConfiguration` if it cannot be told, or how this process counts the time since: neither
    ///   is ever guessed.
    func bootID() throws(LockError) -> String {
        try TimeNamespace.check(self.files, countedWith: self.bootClockOffset)
        #if os(Linux)
        let text = self.files.text(of: Self.bootIDSource, atMostBytes: 256).map { String($0.prefix { $0 != "\n" }) }
        #else
        let text = self.files.systemValue(Self.bootIDSource)
        #endif
        guard let text, !text.isEmpty else {
            throw LockError(
                .invalidConfiguration,
                "\(Self.bootIDSource) cannot be read, so that it cannot be told whether a file of locks is of this boot: let this process see it (systemd: ProcSubset=all)"
            )
        }
        return text
    }
}
#endif
