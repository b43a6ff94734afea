import ArgumentParser
import Foundation

/// What this machine says of itself.
struct MachineConditions: Sendable {
    private let date = Date()
    private let loadBefore = Self.load()
    private let timesBefore = Self.processorTimes()

    /// Notes what is known before the measurement.
    static func before() -> MachineConditions { MachineConditions() }

    /// - Parameter command: What measures the same again.
    func after(command: String) -> BenchConditions {
        var stolen: Double?
        if let before = self.timesBefore, let after = Self.processorTimes(), after.all > before.all {
            stolen = Double(after.stolen &- before.stolen) / Double(after.all &- before.all)
        }
        #if DEBUG
        let isOptimised = false
        #else
        let isOptimised = true
        #endif
        return BenchConditions(
            date: Self.shown(self.date),
            host: ProcessInfo.processInfo.hostName,
            processors: ProcessInfo.processInfo.activeProcessorCount,
            processorModel: Self.processorModel(),
            system: Self.system(),
            dlockVersion: Dlock.configuration.version,
            isOptimised: isOptimised,
            loadBefore: self.loadBefore,
            stolenShare: stolen,
            command: command
        )
    }

    private static func shown(_ date: Date) -> String {
        var seconds = time_t(date.timeIntervalSince1970)
        var parts = tm()
        gmtime_r(&seconds, &parts)
        func two(_ number: Int32) -> String { number < 10 ? "0\(number)" : "\(number)" }
        return "\(parts.tm_year + 1_900)-\(two(parts.tm_mon + 1))-\(two(parts.tm_mday)) \(two(parts.tm_hour)):"
            + "\(two(parts.tm_min)) UTC"
    }

    private static func system() -> String {
        var names = utsname()
        guard uname(&names) == 0 else { return ProcessInfo.processInfo.operatingSystemVersionString }
        func text<Characters>(_ characters: Characters) -> String {
            withUnsafeBytes(of: characters) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
        }
        return "\(text(names.sysname)) \(text(names.release)) \(text(names.machine))"
    }

    private static func lines(of path: String) -> [Substring] {
        (try? String(contentsOfFile: path, encoding: .utf8))?.split(separator: "\n") ?? []
    }

    private static func load() -> Double? {
        Self.lines(of: "/proc/loadavg").first?.split(separator: " ").first.flatMap { Double($0) }
    }

    private static func processorModel() -> String? {
        Self.lines(of: "/proc/cpuinfo").first { $0.hasPrefix("model name") }?
            .split(separator: ":", maxSplits: 1).last
            .map { $0.split(separator: " ").joined(separator: " ") }
    }

    /// The first line of /proc/stat, in ticks (proc_stat(5)): the eighth number is the time that the host gave to others.
    private static func processorTimes() -> (all: UInt64, stolen: UInt64)? {
        guard let line = Self.lines(of: "/proc/stat").first, line.hasPrefix("cpu ") else { return nil }
        let times = line.split(separator: " ").dropFirst().compactMap { UInt64($0) }
        // The last two are parts of the first two.
        guard times.count >= 8 else { return nil }
        return (times.prefix(8).reduce(0, &+), times[7])
    }
}
