#if Embedded
import DistributedLocks
import LockKernel

/// The machine's environment, and its boot; tests put others in their place.
struct EmbeddedEnvironment: Sendable {
    let machine: Environment
    /// Names the present boot of the machine. Throws if it cannot be told: it is never guessed.
    var bootID: @Sendable () throws(LockError) -> String
    /// By how much the boot clock that this process sees is ahead of the machine's.
    private let bootClockOffset: Int64

    static let system = EmbeddedEnvironment(.system, bootClockOffset: TimeNamespace.offsetInNanoseconds) {
        () throws(LockError) in
        try TimeNamespace.check()
        return try Self.readBootID()
    }

    init(
        _ machine: Environment, bootClockOffset: Int64 = 0, bootID: @escaping @Sendable () throws(LockError) -> String
    ) {
        self.machine = machine
        self.bootID = bootID
        self.bootClockOffset = bootClockOffset
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

    private static func readBootID() throws(LockError) -> String {
        #if os(Linux)
        let text = SystemFile.read(Self.bootIDSource, atMostBytes: 256).map { String($0.prefix { $0 != "\n" }) }
        #else
        var buffer = [CChar](repeating: 0, count: 64)
        var size = buffer.count
        let text: String? =
            sysctlbyname(Self.bootIDSource, &buffer, &size, nil, 0) == 0
            ? String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self) : nil
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
