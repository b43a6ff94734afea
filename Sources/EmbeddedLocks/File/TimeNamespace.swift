#if Embedded
import DistributedLocks

/// By how much the boot clock of this process is ahead of that of the machine (time_namespaces(7)).
///
/// Processes of one file may be in different time namespaces: containers may have offsets, and restored ones do. What
/// stands in the file is therefore in the machine's own boot time.
enum TimeNamespace {
    /// The offset of this process; `nil` where it cannot be told.
    static func offset(_ files: any HostFiles) -> Int64? { try? Self.readOffset(files) }

    /// Makes sure that the offset which this process counts with is known, and the right one.
    ///
    /// - Throws: `LockError` `invalidConfiguration` if it is not.
    static func check(_ files: any HostFiles, countedWith offset: Int64) throws(LockError) {
        guard try Self.readOffset(files) == offset else {
            throw LockError(
                .invalidConfiguration,
                "this process has entered another time namespace since it began to use locks: begin with them there"
            )
        }
    }

    private static func readOffset(_ files: any HostFiles) throws(LockError) -> Int64 {
        #if os(Linux)
        guard let own = Self.namespace("time", files) else {
            // A kernel without time namespaces has no such link. Without /proc nothing can be told.
            if files.exists("/proc/self/ns/mnt") || files.exists("/proc/self/ns/pid") { return 0 }
            throw Self.unreadable("/proc/self/ns/time")
        }
        // The file tells of the namespace that children will be in.
        guard own == Self.namespace("time_for_children", files) else {
            throw LockError(
                .invalidConfiguration,
                "this process has made a time namespace for its children and is not in it itself, so that the offset of its own clock cannot be told"
            )
        }
        guard let text = files.text(of: "/proc/self/timens_offsets", atMostBytes: 4_096),
            let offset = Self.bootOffset(in: text)
        else { throw Self.unreadable("/proc/self/timens_offsets") }
        return offset
        #else
        return 0
        #endif
    }

    private static func unreadable(_ path: String) -> LockError {
        LockError(
            .invalidConfiguration,
            "\(path) cannot be read, so that it cannot be told whether this process counts time as others do: let it see /proc"
        )
    }

    private static func namespace(_ kind: String, _ files: any HostFiles) -> [UInt8]? {
        guard let name = try? files.target(ofLink: "/proc/self/ns/\(kind)"), !name.isEmpty else { return nil }
        return name
    }

    /// The line `boottime SECONDS NANOSECONDS`; the seconds may be negative, the nanoseconds count up from them.
    static func bootOffset(in text: String) -> Int64? {
        for line in text.split(separator: "\n") {
            let words = line.split(separator: " ", omittingEmptySubsequences: true)
            guard words.count == 3, words[0] == "boottime" || words[0] == "7" else { continue }
            guard let seconds = Int64(words[1]), let rest = Int64(words[2]), (0..<1_000_000_000).contains(rest) else {
                return nil
            }
            let (product, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
            let (sum, sumOverflow) = product.addingReportingOverflow(rest)
            return overflow || sumOverflow ? nil : sum
        }
        return nil
    }
}
#endif
