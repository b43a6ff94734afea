import NIOCore

/// An aggregate of which elements are still to come.
struct RESPOpenAggregate: Sendable {
    enum Kind {
        case array
        case set
        case push
        case map
        case attribute
    }

    let kind: Kind
    private(set) var missingElements: Int
    /// Keys and values in turn in a map.
    private(set) var elements: [RESPValue] = []
    /// So many elements at the start share no memory with the read buffer.
    private var detachedElements = 0
    private(set) var wasSuspended = false

    /// `arrivedBytes` are those in the read buffer: memory is reserved for no more elements than these can be.
    init(_ kind: Kind, count: Int, arrivedBytes: Int) {
        self.kind = kind
        self.missingElements = count
        if kind != .attribute {
            self.elements.reserveCapacity(
                min(count, Self.maximumReservedElements, arrivedBytes / Self.minimumElementInBytes))
        }
    }

    private static let maximumReservedElements = 32
    /// `_` and CRLF.
    private static let minimumElementInBytes = 3

    /// Whether the last element has come.
    @inline(__always)
    mutating func append(_ value: consuming RESPValue) -> Bool {
        self.missingElements &-= 1
        if self.kind != .attribute { self.elements.append(value) }
        return self.missingElements == 0
    }

    /// The read buffer goes back to the caller, who may add to it. A slice of it that is kept until more bytes come
    /// would make that copy the buffer, and would keep all of its memory for a few bytes: so what is kept is copied
    /// here, once.
    mutating func suspend() {
        self.wasSuspended = true
        self.detach()
    }

    mutating func detach() {
        while self.detachedElements < self.elements.count {
            self.elements[self.detachedElements].detach()
            self.detachedElements += 1
        }
    }

    /// The element that is appended next shares no memory with the read buffer, nor do those before it: it is not
    /// copied again.
    mutating func nextIsDetached() {
        self.detachedElements = self.elements.count + 1
    }

    /// The value, once all elements are there. Nil for attributes, which nobody asks for.
    consuming func close() -> RESPValue? {
        switch self.kind {
        case .array: return .array(self.elements)
        case .set: return .set(self.elements)
        case .push: return .push(self.elements)
        case .map:
            let elements = self.elements
            return .map(
                stride(from: 0, to: elements.count, by: 2).map {
                    RESPMapEntry(key: elements[$0], value: elements[$0 + 1])
                }
            )
        case .attribute: return nil
        }
    }
}

extension RESPValue {
    /// Copies all texts and payloads, so that they share no memory with the buffer they were read from.
    fileprivate mutating func detach() {
        switch self {
        case .simpleString(let text): self = .simpleString(ByteBuffer(buffer: text))
        case .simpleError(let text): self = .simpleError(ByteBuffer(buffer: text))
        case .bulkString(let payload): self = .bulkString(ByteBuffer(buffer: payload))
        case .bulkError(let payload): self = .bulkError(ByteBuffer(buffer: payload))
        case .bigNumber(let digits): self = .bigNumber(ByteBuffer(buffer: digits))
        case .verbatimString(let format, let payload):
            self = .verbatimString(format: format, ByteBuffer(buffer: payload))
        case .integer, .null, .boolean, .double: break
        case .array(let elements): self = .array(elements.map { $0.detached() })
        case .set(let elements): self = .set(elements.map { $0.detached() })
        case .push(let elements): self = .push(elements.map { $0.detached() })
        case .map(let entries):
            self = .map(entries.map { RESPMapEntry(key: $0.key.detached(), value: $0.value.detached()) })
        }
    }

    private func detached() -> RESPValue {
        var copy = self
        copy.detach()
        return copy
    }
}
