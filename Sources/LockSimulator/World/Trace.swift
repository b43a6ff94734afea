/// What has happened, one line for each event. Two runs of one seed have the same hash, and the same lines.
final class Trace {
    private let isKept: Bool
    /// What clients and servers say to each other is among it.
    let hasConversations: Bool
    private(set) var lines: [String] = []
    private(set) var count = 0
    /// FNV-1a of all lines.
    private(set) var hash: UInt64 = 0xCBF2_9CE4_8422_2325

    init(isKept: Bool, hasConversations: Bool) {
        self.isKept = isKept
        self.hasConversations = hasConversations
    }

    func add(_ line: String) {
        self.count += 1
        for byte in line.utf8 { self.hash = (self.hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
        self.hash = (self.hash ^ 10) &* 0x100_0000_01B3
        if self.isKept { self.lines.append(line) }
    }
}

extension World {
    /// - Parameter host: who has done it, or whom it has met.
    func note(_ host: Host, _ text: @autoclosure () -> String) {
        let microseconds = self.time / 1_000
        let seconds = "\(microseconds / 1_000_000)"
        let rest = "\(1_000_000 + microseconds % 1_000_000)".dropFirst()
        self.trace.add("\(seconds).\(rest) \(host.name): \(text())")
    }
}
