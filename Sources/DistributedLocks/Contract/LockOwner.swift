package import LockKernel

/// Who asks for a lock: 160 random bits made afresh for each attempt, and metadata for people.
///
/// The random part is what authorises a release. It is never logged, printed or shown: `description` and `Mirror` give
/// the metadata only. A backend stores ``secret``.
public struct LockOwner: Sendable {
    /// The random part.
    public struct Secret: Hashable, Sendable, CustomStringConvertible, CustomReflectable {
        let high: UInt64
        let middle: UInt64
        let low: UInt32

        /// Makes 160 random bits.
        public init(using generator: inout some RandomNumberGenerator) {
            self.high = generator.next()
            self.middle = generator.next()
            self.low = generator.next()
        }

        private init(high: UInt64, using generator: inout some RandomNumberGenerator) {
            self.high = high
            self.middle = generator.next()
            self.low = generator.next()
        }

        /// Makes another one, for the same claim: 96 bits are new, and the first 64 stay.
        package func next(using generator: inout some RandomNumberGenerator) -> Self {
            Self(high: self.high, using: &generator)
        }

        /// Reads the bytes of ``withUnsafeBytes(_:)``.
        package init(bytes: [UInt8]) {
            precondition(bytes.count == Self.lengthInBytes)
            self.high = bytes.prefix(8).reduce(0) { $0 << 8 | UInt64($1) }
            self.middle = bytes.dropFirst(8).prefix(8).reduce(0) { $0 << 8 | UInt64($1) }
            self.low = bytes.suffix(4).reduce(0) { $0 << 8 | UInt32($1) }
        }

        /// The number of bytes of ``withUnsafeBytes(_:)``.
        public static let lengthInBytes = 20

        /// The bits as 20 bytes, to be stored and compared by the backend.
        public func withUnsafeBytes<Result, Failure: Error>(
            _ body: (UnsafeRawBufferPointer) throws(Failure) -> Result
        ) throws(Failure) -> Result {
            let words = (self.high.bigEndian, self.middle.bigEndian, self.low.bigEndian)
            do {
                return try Swift.withUnsafeBytes(of: words) { all in
                    try body(UnsafeRawBufferPointer(rebasing: all.prefix(Self.lengthInBytes)))
                }
            } catch let error as Failure {
                throw error
            } catch {
                fatalError("only Failure can be thrown here, not \(error)")
            }
        }

        /// Hides the bits.
        public var description: String { "<secret>" }

        /// Hides the bits.
        public var customMirror: Mirror { Mirror(self, children: []) }
    }

    /// What authorises release and renewal.
    public let secret: Secret

    /// What people see.
    public let metadata: OwnerMetadata

    /// Makes an owner.
    public init(secret: Secret, metadata: OwnerMetadata) {
        self.secret = secret
        self.metadata = metadata
    }
}

/// What people see of a holder or a waiter. None of it authorises anything.
///
/// It belongs to a claim: a call may have its own, and has that of ``LockClient/Configuration/metadata`` otherwise.
public struct OwnerMetadata: Hashable, Sendable, Codable {
    /// The host's name.
    public var host: String
    /// The process id on that host (in its own process id namespace).
    public var pid: Int32
    /// What the user chose to say about this client, such as a service's name.
    public var label: String?

    /// Describes an owner.
    public init(host: String, pid: Int32, label: String? = nil) {
        self.host = host
        self.pid = pid
        self.label = label
    }

    /// Describes this process.
    public static func current(label: String? = nil) -> OwnerMetadata {
        OwnerMetadata(of: Environment.system.process, label: label)
    }

    /// Describes a process.
    package init(of process: any ProcessSource, label: String? = nil) {
        self.init(host: process.hostName, pid: process.number, label: label)
    }
}

extension OwnerMetadata {
    /// Several, for people.
    static func list(_ all: [OwnerMetadata]) -> String { all.map(\.description).joined(separator: ", ") }
}

extension OwnerMetadata: CustomStringConvertible {
    /// For example `pid 4711 on web-3 (checkout)`. Characters that would control a terminal stand there as escapes.
    public var description: String {
        ("pid \(self.pid) on \(self.host)" + (self.label.map { " (\($0))" } ?? "")).harmless
    }
}
