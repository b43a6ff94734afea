#if Embedded
import DistributedLocks
import LockKernel

/// By how much the boot clock of this process is ahead of that of the machine (time_namespaces(7)).
///
/// Processes of one file may be in different time namespaces: containers may have offsets, and restored ones do. What
/// stands in the file is therefore in the machine's own boot time.
enum TimeNamespace {
    /// The offset of this process. A process with threads cannot change its time namespace, so it is read once.
    static let offsetInNanoseconds: Int64 = (try? Self.readOffset()) ?? 0

    /// Makes sure that the offset which this process counts with is known, and the right one.
    ///
    /// - Throws: `LockError` `invalidConfiguration` if it is not.
    static func check() throws(LockError) {
        guard try Self.readOffset() == Self.offsetInNanoseconds else {
            throw LockError(
                .invalidConfiguration,
                "this process has entered another time namespace since it began to use locks: begin with them there"
            )
        }
    }

    private static func readOffset() throws(LockError) -> Int64 {
        #if os(Linux)
        guard let own = Self.namespace("time") else {
            // A kernel without time namespaces has no such link. Without /proc nothing can be told.
            if access("/proc/self/ns/mnt", F_OK) == 0 || access("/proc/self/ns/pid", F_OK) == 0 { return 0 }
            throw Self.unreadable("/proc/self/ns/time")
        }
        // The file tells of the namespace that children will be in.
        guard own == Self.namespace("time_for_children") else {
            throw LockError(
                .invalidConfiguration,
                "this process has made a time namespace for its children and is not in it itself, so that the offset of its own clock cannot be told"
            )
        }
        guard let text = SystemFile.read("/proc/self/timens_offsets", atMostBytes: 4_096),
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

    private static func namespace(_ kind: String) -> String? {
        var buffer = [CChar](repeating: 0, count: 128)
        let count = readlink("/proc/self/ns/\(kind)", &buffer, buffer.count)
        guard count > 0 else { return nil }
        return String(decoding: buffer.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self)
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

/// Files of /proc, which have no size before they are read.
enum SystemFile {
    /// `nil` if it cannot be read, or is longer than allowed.
    static func read(_ path: String, atMostBytes limit: Int) -> String? {
        Self.readBytes(path, atMostBytes: limit).map { String(decoding: $0, as: UTF8.self) }
    }

    static func readBytes(_ path: String, atMostBytes limit: Int) -> [UInt8]? {
        guard let file = fopen(path, "re") else { return nil }
        defer { fclose(file) }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 16_384)
        while true {
            let count = fread(&buffer, 1, buffer.count, file)
            if count == 0 { return ferror(file) == 0 ? bytes : nil }
            bytes.append(contentsOf: buffer.prefix(count))
            if bytes.count > limit { return nil }
        }
    }
}
#endif
