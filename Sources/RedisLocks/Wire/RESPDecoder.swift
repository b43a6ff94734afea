package import NIOCore

/// Turns the bytes of one connection into values, however many of them come at a time.
///
/// Each byte is looked at once (a number's line a few times more), and what is kept of an unfinished value is bounded
/// by ``RESPLimits``; no memory is taken because a length was announced. Reads version 3 of the protocol, and version
/// 2, which is nearly a part of it. Attributes are read and dropped.
package struct RESPDecoder: Sendable {
    package let limits: RESPLimits
    /// How many bytes of the next value were taken out of the buffer. At most ``RESPLimits/maximumPendingBytes``.
    package private(set) var pendingBytes = 0
    /// Of the next value: the elements of its aggregates, those that are still to come included.
    private var claimedElements = 0
    /// The outermost first.
    private(set) var open: [RESPOpenAggregate] = []
    /// Its line was taken out of the buffer, its payload was not there yet.
    private var awaited: Payload?
    /// So many bytes of an incomplete line, which is still in the buffer, were looked at.
    private var scannedBytes = 0
    private var failure: RESPError?

    private struct Payload {
        var type: RESPType
        var lengthInBytes: Int
    }

    package init(limits: RESPLimits = RESPLimits()) {
        self.limits = limits
    }

    /// Takes the next value out of `buffer`. Nil if more bytes are needed: call it again with the same buffer, to which
    /// bytes were added (``NIOCore/ByteBuffer/appendReceived(_:)``). Call it until it is nil.
    ///
    /// After an error it throws that error for ever. The buffer then starts with the line or payload that was wrong.
    package mutating func next(from buffer: inout ByteBuffer) throws(RESPError) -> RESPValue? {
        if let failure { throw failure }
        var takenBytes = 0
        defer { buffer.moveReaderIndex(forwardBy: takenBytes) }
        do throws(RESPError) {
            return try buffer.withUnsafeReadableBytes { (bytes) throws(RESPError) in
                var input = RESPInput(bytes, of: buffer)
                defer { takenBytes = input.takenBytes }
                return try self.next(from: &input)
            }
        } catch {
            self.failure = error
            self.open = []
            throw error
        }
    }

    @inline(__always)
    private mutating func next(from input: inout RESPInput) throws(RESPError) -> RESPValue? {
        reading: while var value = try self.readLeaf(from: &input) {
            // It may complete the aggregate that it belongs to, and this the next one.
            while let innermost = self.open.indices.last {
                guard self.open[innermost].append(value) else { continue reading }
                guard let aggregate = self.closeInnermost() else { continue reading }
                value = aggregate
            }
            self.pendingBytes = 0
            self.claimedElements = 0
            return value
        }
        for index in self.open.indices { self.open[index].suspend() }
        return nil
    }

    /// Nil if it was an attribute.
    private mutating func closeInnermost() -> RESPValue? {
        var aggregate = self.open.removeLast()
        if aggregate.wasSuspended, aggregate.kind != .attribute, let outer = self.open.indices.last {
            // The outer ones were suspended with it, and had no element since.
            aggregate.detach()
            self.open[outer].nextIsDetached()
        }
        return aggregate.close()
    }

    /// Takes the next value that is no aggregate or an empty one, and opens the aggregates before it.
    @inline(__always)
    private mutating func readLeaf(from input: inout RESPInput) throws(RESPError) -> RESPValue? {
        if let awaited {
            guard let value = try self.readPayload(awaited, from: &input) else { return nil }
            self.awaited = nil
            return value
        }
        while true {
            let found = RESPLine.read(
                input.rest, scannedBytes: self.scannedBytes,
                maximumLengthInBytes: self.limits.maximumLineLengthInBytes)
            switch found {
            case .number(let type, let number, let length):
                if let value = try self.readNumbered(type, number, lineLength: length, from: &input) { return value }
                if self.awaited != nil { return nil }
            case .text(let type, let length):
                return try self.readText(type, lineLength: length, from: &input)
            case .incomplete(let scannedBytes):
                self.scannedBytes = scannedBytes
                return nil
            case .fault(let code, let index):
                throw input.fault(code, length: index + 1)
            }
        }
    }

    /// Nil if the payload is awaited, if an aggregate was opened, and for an empty attribute.
    @inline(__always)
    private mutating func readNumbered(
        _ type: RESPType, _ number: Int64, lineLength: Int, from input: inout RESPInput
    ) throws(RESPError) -> RESPValue? {
        switch type {
        case .integer:
            try self.takeLine(lineLength, from: &input)
            return .integer(number)
        case .bulkString, .bulkError, .verbatimString:
            if number < 0 { return try self.readNull(type, number, lineLength: lineLength, from: &input) }
            let payload = Payload(type: type, lengthInBytes: try self.bulkLength(type, number, lineLength, input))
            try self.takeLine(lineLength, from: &input)
            if let value = try self.readPayload(payload, from: &input) { return value }
            self.awaited = payload
            return nil
        case .array: return try self.openAggregate(.array, type, number, lineLength: lineLength, from: &input)
        case .set: return try self.openAggregate(.set, type, number, lineLength: lineLength, from: &input)
        case .push: return try self.openAggregate(.push, type, number, lineLength: lineLength, from: &input)
        case .map: return try self.openAggregate(.map, type, number, lineLength: lineLength, from: &input)
        case .attribute: return try self.openAggregate(.attribute, type, number, lineLength: lineLength, from: &input)
        case .simpleString, .simpleError, .null, .boolean, .double, .bigNumber:
            preconditionFailure("\(type) has no number")
        }
    }

    /// The null of version 2: a string or an array of length -1.
    private mutating func readNull(
        _ type: RESPType, _ number: Int64, lineLength: Int, from input: inout RESPInput
    ) throws(RESPError) -> RESPValue {
        guard number == -1, type == .bulkString || type == .array else {
            throw input.fault(.invalidLength, length: lineLength + 1)
        }
        try self.takeLine(lineLength, from: &input)
        return .null
    }

    /// The length of a payload, which is within the limits.
    @inline(__always)
    private func bulkLength(
        _ type: RESPType, _ number: Int64, _ lineLength: Int, _ input: RESPInput
    ) throws(RESPError) -> Int {
        guard number <= self.limits.maximumBulkLengthInBytes else {
            throw input.fault(.bulkTooLong, length: lineLength + 1)
        }
        guard self.pendingBytes + lineLength + 3 + Int(number) + 2 <= self.limits.maximumPendingBytes else {
            throw input.fault(.valueTooLarge, length: lineLength + 1)
        }
        guard type != .verbatimString || number >= 4 else {
            throw input.fault(.invalidVerbatimString, length: lineLength + 1)
        }
        return Int(number)
    }

    private mutating func openAggregate(
        _ kind: RESPOpenAggregate.Kind, _ type: RESPType, _ number: Int64, lineLength: Int, from input: inout RESPInput
    ) throws(RESPError) -> RESPValue? {
        if number < 0 { return try self.readNull(type, number, lineLength: lineLength, from: &input) }
        guard kind != .push || self.open.isEmpty else { throw input.fault(.nestedPush, length: lineLength + 1) }
        guard self.open.count < self.limits.maximumNestingDepth else {
            throw input.fault(.nestingTooDeep, length: lineLength + 1)
        }
        let elementsPerCount: Int64 = kind == .map || kind == .attribute ? 2 : 1
        guard number <= Int64(self.limits.maximumElementCount - self.claimedElements) / elementsPerCount else {
            throw input.fault(.tooManyElements, length: lineLength + 1)
        }
        try self.takeLine(lineLength, from: &input)
        let count = Int(number * elementsPerCount)
        self.claimedElements += count
        let aggregate = RESPOpenAggregate(kind, count: count, arrivedBytes: input.count)
        if count == 0 { return aggregate.close() }
        self.open.append(aggregate)
        return nil
    }

    /// The values that are all in their line.
    @inline(__always)
    private mutating func readText(
        _ type: RESPType, lineLength: Int, from input: inout RESPInput
    ) throws(RESPError) -> RESPValue {
        let value: RESPValue?
        let fault: RESPError.Code
        switch type {
        case .simpleString:
            let text = input.slice(from: 1, length: lineLength)
            try self.takeLine(lineLength, from: &input)
            return .simpleString(text)
        case .simpleError:
            let text = input.slice(from: 1, length: lineLength)
            try self.takeLine(lineLength, from: &input)
            return .simpleError(text)
        case .null:
            value = lineLength == 0 ? .null : nil
            fault = .invalidNull
        case .boolean:
            value = RESPNumber.boolean(input.peek(from: 1, length: lineLength)).map { .boolean($0) }
            fault = .invalidBoolean
        case .double:
            value = RESPNumber.double(input.peek(from: 1, length: lineLength)).map { .double($0) }
            fault = .invalidDouble
        case .bigNumber:
            let isNumber = RESPNumber.isBigNumber(input.peek(from: 1, length: lineLength))
            value = isNumber ? .bigNumber(input.slice(from: 1, length: lineLength)) : nil
            fault = .invalidBigNumber
        case .integer, .bulkString, .array, .bulkError, .verbatimString, .map, .attribute, .set, .push:
            preconditionFailure("\(type) has a number")
        }
        guard let value else { throw input.fault(fault, length: lineLength + 1) }
        try self.takeLine(lineLength, from: &input)
        return value
    }

    /// Nil if the payload and its CRLF are not all there.
    @inline(__always)
    private mutating func readPayload(_ payload: Payload, from input: inout RESPInput) throws(RESPError) -> RESPValue? {
        let length = payload.lengthInBytes
        guard input.count >= length + 2 else { return nil }
        let end = input.peek(from: length, length: 2)
        guard end[0] == UInt8(ascii: "\r"), end[1] == UInt8(ascii: "\n") else {
            throw input.fault(.missingTerminator, from: length, length: 2)
        }
        let value: RESPValue
        switch payload.type {
        case .bulkString: value = .bulkString(input.slice(length: length))
        case .bulkError: value = .bulkError(input.slice(length: length))
        case .verbatimString:
            let head = input.peek(length: 4)
            guard head[3] == UInt8(ascii: ":") else { throw input.fault(.invalidVerbatimString, length: 4) }
            let text = input.slice(from: 4, length: length - 4)
            value = .verbatimString(format: RESPVerbatimFormat(head[0], head[1], head[2]), text)
        case .simpleString, .simpleError, .integer, .array, .null, .boolean, .double, .bigNumber, .map, .attribute,
            .set,
            .push:
            preconditionFailure("\(payload.type) has no payload")
        }
        input.take(length + 2)
        self.pendingBytes += length + 2
        return value
    }

    /// Takes a line. `lineLength` is without its type byte and its CRLF.
    @inline(__always)
    private mutating func takeLine(_ lineLength: Int, from input: inout RESPInput) throws(RESPError) {
        guard self.pendingBytes + lineLength + 3 <= self.limits.maximumPendingBytes else {
            throw input.fault(.valueTooLarge, length: lineLength + 1)
        }
        input.take(lineLength + 3)
        self.pendingBytes += lineLength + 3
        self.scannedBytes = 0
    }
}
