import DistributedLocks

/// A node in a lock's folder, as its name tells: `<kind>-<uuid>-<number>`, with a number that the server appends.
///
/// Whatever stands in the folder contends for the lock. A node of a kind that is not known here is taken for one that wants
/// the lock for itself, at its number; one whose number cannot be read, for one ahead of everybody. So clients that know
/// less than others wait for those, and never hold beside them.
struct ContenderNode: Hashable, Sendable {
    /// The last part of its path.
    let name: String
    /// The lower is ahead. The server's number, which goes on below zero after 2^31 - 1, as if it had no sign.
    let rank: Int64
    /// Whether it is of the kind that this package makes.
    let isClaim: Bool

    /// A claim to hold the lock alone.
    static let prefix = "c-"
    private static let uuidLength = 32

    /// From this rank on nobody holds.
    ///
    /// The number is the folder's counter of children, an int32. From ZooKeeper 3.6 on it does not go past 2^31 - 1: it sticks,
    /// and gives the same numbers again and again, so that they say nothing about who came first. Nobody gets there who leaves
    /// a million earlier.
    static let firstUsedUpRank: Int64 = 1 << 31 - 1 << 20

    /// Of a node whose number cannot be read.
    private static let rankAhead: Int64 = -1

    /// The name before the server appends the number.
    static func stem(uuid: String) -> String { Self.prefix + uuid + "-" }

    /// What a client's nodes have in common.
    struct Maker: Hashable, Sendable {
        /// 64 random bits in hexadecimal digits.
        let digits: String
        private let bytes: [UInt8]
        private static let attemptDigits = 12

        init(using generator: inout some RandomNumberGenerator) {
            self.digits = ContenderNode.hexadecimal(generator.next(), digits: 16)
            self.bytes = Array(self.digits.utf8)
        }

        /// The name of the next node that is made for an attempt.
        func uuid(of attempt: AttemptID, count: UInt16) -> String {
            self.digits + ContenderNode.hexadecimal(attempt.rawValue << 16 | UInt64(count), digits: 16)
        }

        /// The attempt for which this client has made a node; `nil` if another one has made it.
        func attempt(of node: ContenderNode) -> AttemptID? {
            guard node.isClaim else { return nil }
            let uuid = node.name.utf8.dropFirst(ContenderNode.prefix.utf8.count)
            guard uuid.starts(with: self.bytes) else { return nil }
            var attempt: UInt64 = 0
            for byte in uuid.dropFirst(self.bytes.count).prefix(Self.attemptDigits) {
                let isDigit = byte <= UInt8(ascii: "9")
                attempt = attempt << 4 | UInt64(isDigit ? byte - UInt8(ascii: "0") : byte - UInt8(ascii: "a") + 10)
            }
            return AttemptID(rawValue: attempt)
        }
    }

    /// 128 random bits in hexadecimal digits.
    static func makeUUID(using generator: inout some RandomNumberGenerator) -> String {
        (0..<2).map { _ in Self.hexadecimal(generator.next(), digits: 16) }.joined()
    }

    private static func hexadecimal(_ value: UInt64, digits: Int) -> String {
        let text = String(value, radix: 16)
        return String(repeating: "0", count: digits - text.count) + text
    }

    init(name: String) {
        var name = name
        (self.rank, self.isClaim) = name.withUTF8 { bytes in
            if let rank = Self.rankOfClaim(bytes) { return (rank, true) }
            return (Self.rankOfOther(bytes) ?? Self.rankAhead, false)
        }
        self.name = name
    }

    /// Its number is one of those from which nobody may hold.
    var isUsedUp: Bool { self.rank >= Self.firstUsedUpRank }

    /// `nil`: only nodes of this package's have one.
    var uuid: String? {
        guard self.isClaim else { return nil }
        return String(decoding: self.name.utf8.dropFirst(Self.prefix.utf8.count).prefix(Self.uuidLength), as: UTF8.self)
    }

    // MARK: Names

    /// Lists are long where many wait, and each newcomer reads one.
    private static func rankOfClaim(_ bytes: UnsafeBufferPointer<UInt8>) -> Int64? {
        let start = Self.prefix.utf8.count
        let dash = start + Self.uuidLength
        guard bytes.count > dash + 1, bytes[0] == UInt8(ascii: "c"), bytes[1] == UInt8(ascii: "-"),
            bytes[dash] == UInt8(ascii: "-")
        else { return nil }
        for index in start..<dash {
            switch bytes[index] {
            case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "f"): continue
            default: return nil
            }
        }
        return Self.rank(bytes, from: dash + 1)
    }

    /// A server's number has ten digits; where it is the end of a name whose beginning is not known, a sign before it cannot be
    /// told from a dash.
    private static func rankOfOther(_ bytes: UnsafeBufferPointer<UInt8>) -> Int64? {
        guard bytes.count >= Self.digits, bytes[bytes.count - Self.digits] != UInt8(ascii: "-") else { return nil }
        return Self.rank(bytes, from: bytes.count - Self.digits)
    }

    private static let digits = 10

    /// The server writes a number with at least ten places, its sign among them (`%010d`).
    private static func rank(_ bytes: UnsafeBufferPointer<UInt8>, from start: Int) -> Int64? {
        let isNegative = bytes[start] == UInt8(ascii: "-")
        let places = bytes.count - start
        guard places == Self.digits || (isNegative && places == Self.digits + 1) else { return nil }
        var number: Int64 = 0
        for byte in bytes[(isNegative ? start + 1 : start)...] {
            guard case UInt8(ascii: "0")...UInt8(ascii: "9") = byte else { return nil }
            number = number * 10 + Int64(byte - UInt8(ascii: "0"))
        }
        return Int32(exactly: isNegative ? -number : number).map { Int64(UInt32(bitPattern: $0)) }
    }
}

// MARK: - The order

extension ContenderNode: Comparable {
    /// Whether the left one is ahead. Of two with the same number it is the one with the smaller name.
    static func < (left: ContenderNode, right: ContenderNode) -> Bool {
        left.rank == right.rank ? left.name < right.name : left.rank < right.rank
    }

    /// Where a contender stands.
    struct Place: Equatable {
        /// How many are ahead.
        var ahead: Int
        /// The one right ahead.
        var predecessor: ContenderNode?
        var first: ContenderNode
    }

    /// Where a contender stands among all contenders of its lock; `nil` if it is not among them: then the folder may be
    /// another one than that in which it was made, and numbers say nothing.
    static func place(of mine: ContenderNode, among nodes: [ContenderNode]) -> Place? {
        var isThere = false
        var place = Place(ahead: 0, predecessor: nil, first: mine)
        for node in nodes {
            guard node < mine else {
                if node.rank == mine.rank, node.name == mine.name { isThere = true }
                continue
            }
            place.ahead += 1
            if node < place.first { place.first = node }
            if place.predecessor.map({ $0 < node }) ?? true { place.predecessor = node }
        }
        return isThere ? place : nil
    }
}
