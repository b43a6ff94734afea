#if Embedded
import DistributedLocks

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// Where the machine's clocks and its boot come from; tests put others in their place.
struct EmbeddedEnvironment: Sendable {
    /// Names the present boot of the machine. Throws if it cannot be told: it is never guessed.
    var bootID: @Sendable () throws(LockError) -> String
    /// Microseconds since 1970 by the wall clock.
    var wallClock: @Sendable () -> Int64

    static let system = EmbeddedEnvironment(
        bootID: { () throws(LockError) in
            try TimeNamespace.check()
            return try Self.readBootID()
        },
        wallClock: {
            var time = timespec()
            clock_gettime(CLOCK_REALTIME, &time)
            return Int64(time.tv_sec) * 1_000_000 + Int64(time.tv_nsec) / 1_000
        }
    )

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
