package import NIOCore

/// Turns the bytes of one connection into values, however many of them come at a time.
///
/// Each byte is looked at once (a number's line a few times more), and what is kept of an unfinished value is bounded by
/// ``RESPLimits``; no memory is taken because a length was announced. Reads version 3 of the protocol, and version 2, which is
/// nearly a part of it. Attributes are read and dropped.
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

    /// Takes the next value out of `buffer`. Nil if more bytes are needed: call it again with the same buffer, to which bytes
    /// were added (``NIOCore/ByteBuffer/appendReceived(_:)``). Call it until it is nil.
    ///
    /// After an error it throws that error for ever. The buffer then starts with the line or payload that was wrong.
    package mutating func next(from buffer: inout ByteBuffer) throws(RESPError) -> RESPValue? {
        if let failure { throw failure }
        do throws(RESPError) {
            return try self.advance(&buffer)
        } catch {
            self.failure = error
            self.open = []
            throw error
        }
    }

    private mutating func advance(_ buffer: inout ByteBuffer) throws(RESPError) -> RESPValue? {
        reading: while var value = try self.readLeaf(from: &buffer) {
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
        if aggregate.wasSuspended, let outer = self.open.indices.last {
            // The outer ones were suspended with it, and had no element since.
            aggregate.detach()
            self.open[outer].allAreDetached()
        }
        return aggregate.close()
    }

    /// Takes out of the buffer the next value that is no aggregate or an empty one, and opens the aggregates before it.
    private mutating func readLeaf(from buffer: inout ByteBuffer) throws(RESPError) -> RESPValue? {
        if let awaited {
            guard let value = try self.readPayload(awaited, from: &buffer) else { return nil }
            self.awaited = nil
            return value
        }
        while true {
            let found = buffer.withUnsafeReadableBytes {
                RESPLine.read(
                    $0, scannedBytes: self.scannedBytes, maximumLengthInBytes: self.limits.maximumLineLengthInBytes)
            }
            switch found {
            case .number(let type, let number, let length):
                if let value = try self.readNumbered(type, number, lineLength: length, from: &buffer) { return value }
                if self.awaited != nil { return nil }
            case .text(let type, let length):
                return try self.readText(type, lineLength: length, from: &buffer)
            case .incomplete(let scannedBytes):
                self.scannedBytes = scannedBytes
                return nil
            case .fault(let code, let index):
                throw Self.fault(code, buffer, length: index + 1)
            }
        }
    }

    /// Nil if the payload is awaited, if an aggregate was opened, and for an empty attribute.
    @inline(__always)
    private mutating func readNumbered(
        _ type: RESPType, _ number: Int64, lineLength: Int, from buffer: inout ByteBuffer
    ) throws(RESPError) -> RESPValue? {
        switch type {
        case .integer:
            try self.takeLine(lineLength, from: &buffer)
            return .integer(number)
        case .bulkString, .bulkError, .verbatimString:
            if number < 0 { return try self.readNull(type, number, lineLength: lineLength, from: &buffer) }
            let payload = Payload(type: type, lengthInBytes: try self.bulkLength(type, number, lineLength, buffer))
            try self.takeLine(lineLength, from: &buffer)
            if let value = try self.readPayload(payload, from: &buffer) { return value }
            self.awaited = payload
            return nil
        case .array, .set, .push, .map, .attribute:
            if number < 0 { return try self.readNull(type, number, lineLength: lineLength, from: &buffer) }
            return try self.openAggregate(type, number, lineLength: lineLength, from: &buffer)
        case .simpleString, .simpleError, .null, .boolean, .double, .bigNumber:
            preconditionFailure("\(type) has no number")
        }
    }

    /// The null of version 2: a string or an array of length -1.
    private mutating func readNull(
        _ type: RESPType, _ number: Int64, lineLength: Int, from buffer: inout ByteBuffer
    ) throws(RESPError) -> RESPValue {
        guard number == -1, type == .bulkString || type == .array else {
            throw Self.fault(.invalidLength, buffer, length: lineLength + 1)
        }
        try self.takeLine(lineLength, from: &buffer)
        return .null
    }

    /// The length of a payload, which is within the limits.
    @inline(__always)
    private func bulkLength(
        _ type: RESPType, _ number: Int64, _ lineLength: Int, _ buffer: ByteBuffer
    ) throws(RESPError) -> Int {
        guard number <= self.limits.maximumBulkLengthInBytes else {
            throw Self.fault(.bulkTooLong, buffer, length: lineLength + 1)
        }
        guard self.pendingBytes + lineLength + 3 + Int(number) + 2 <= self.limits.maximumPendingBytes else {
            throw Self.fault(.valueTooLarge, buffer, length: lineLength + 1)
        }
        guard type != .verbatimString || number >= 4 else {
            throw Self.fault(.invalidVerbatimString, buffer, length: lineLength + 1)
        }
        return Int(number)
    }

    @inline(__always)
    private mutating func openAggregate(
        _ type: RESPType, _ number: Int64, lineLength: Int, from buffer: inout ByteBuffer
    ) throws(RESPError) -> RESPValue? {
        guard type != .push || self.open.isEmpty else { throw Self.fault(.nestedPush, buffer, length: lineLength + 1) }
        guard self.open.count < self.limits.maximumNestingDepth else {
            throw Self.fault(.nestingTooDeep, buffer, length: lineLength + 1)
        }
        let elementsPerCount: Int64 = type == .map || type == .attribute ? 2 : 1
        guard number <= Int64(self.limits.maximumElementCount - self.claimedElements) / elementsPerCount else {
            throw Self.fault(.tooManyElements, buffer, length: lineLength + 1)
        }
        try self.takeLine(lineLength, from: &buffer)
        let count = Int(number * elementsPerCount)
        self.claimedElements += count
        let kind: RESPOpenAggregate.Kind =
            switch type {
            case .array: .array
            case .set: .set
            case .push: .push
            case .map: .map
            case .attribute: .attribute
            case .integer, .bulkString, .bulkError, .verbatimString, .simpleString, .simpleError, .null, .boolean, .double,
                .bigNumber:
                preconditionFailure("\(type) is no aggregate")
            }
        let aggregate = RESPOpenAggregate(kind, count: count, arrivedBytes: buffer.readableBytes)
        if count == 0 { return aggregate.close() }
        self.open.append(aggregate)
        return nil
    }

    /// The values that are all in their line.
    @inline(__always)
    private mutating func readText(
        _ type: RESPType, lineLength: Int, from buffer: inout ByteBuffer
    ) throws(RESPError) -> RESPValue {
        let start = buffer.readerIndex + 1
        let value: RESPValue?
        let fault: RESPError.Code
        switch type {
        case .simpleString:
            let text = Self.slice(buffer, at: start, length: lineLength)
            try self.takeLine(lineLength, from: &buffer)
            return .simpleString(text)
        case .simpleError:
            let text = Self.slice(buffer, at: start, length: lineLength)
            try self.takeLine(lineLength, from: &buffer)
            return .simpleError(text)
        case .null:
            value = lineLength == 0 ? .null : nil
            fault = .invalidNull
        case .boolean:
            value = Self.boolean(Self.slice(buffer, at: start, length: lineLength))
            fault = .invalidBoolean
        case .double:
            let text = Self.slice(buffer, at: start, length: lineLength)
            value = text.withUnsafeReadableBytes { RESPNumber.double($0) }.map { .double($0) }
            fault = .invalidDouble
        case .bigNumber:
            let text = Self.slice(buffer, at: start, length: lineLength)
            value = text.withUnsafeReadableBytes { RESPNumber.isBigNumber($0) } ? .bigNumber(text) : nil
            fault = .invalidBigNumber
        case .integer, .bulkString, .array, .bulkError, .verbatimString, .map, .attribute, .set, .push:
            preconditionFailure("\(type) has a number")
        }
        guard let value else { throw Self.fault(fault, buffer, length: lineLength + 1) }
        try self.takeLine(lineLength, from: &buffer)
        return value
    }

    private static func boolean(_ text: ByteBuffer) -> RESPValue? {
        guard text.readableBytes == 1 else { return nil }
        switch text.getInteger(at: text.readerIndex, as: UInt8.self) {
        case UInt8(ascii: "t"): return .boolean(true)
        case UInt8(ascii: "f"): return .boolean(false)
        default: return nil
        }
    }

    /// Nil if the payload and its CRLF are not all there.
    @inline(__always)
    private mutating func readPayload(_ payload: Payload, from buffer: inout ByteBuffer) throws(RESPError) -> RESPValue? {
        let length = payload.lengthInBytes
        guard buffer.readableBytes >= length + 2 else { return nil }
        let start = buffer.readerIndex
        guard buffer.getInteger(at: start + length, as: UInt16.self) == 0x0D0A else {
            throw buffer.withUnsafeReadableBytes { bytes in
                RESPError(.missingTerminator, UnsafeRawBufferPointer(rebasing: bytes[length..<length + 2]))
            }
        }
        let value: RESPValue
        switch payload.type {
        case .bulkString: value = .bulkString(Self.slice(buffer, at: start, length: length))
        case .bulkError: value = .bulkError(Self.slice(buffer, at: start, length: length))
        case .verbatimString: value = try Self.verbatimString(Self.slice(buffer, at: start, length: length))
        case .simpleString, .simpleError, .integer, .array, .null, .boolean, .double, .bigNumber, .map, .attribute, .set,
            .push:
            preconditionFailure("\(payload.type) has no payload")
        }
        buffer.moveReaderIndex(forwardBy: length + 2)
        self.pendingBytes += length + 2
        return value
    }

    private static func verbatimString(_ payload: ByteBuffer) throws(RESPError) -> RESPValue {
        var text = payload
        guard let (first, second, third, colon) = text.readMultipleIntegers(as: (UInt8, UInt8, UInt8, UInt8).self),
            colon == UInt8(ascii: ":")
        else { throw Self.fault(.invalidVerbatimString, payload, length: 4) }
        return .verbatimString(format: RESPVerbatimFormat(first, second, third), text.slice())
    }

    /// Takes a line out of the buffer. `lineLength` is without its type byte and its CRLF.
    @inline(__always)
    private mutating func takeLine(_ lineLength: Int, from buffer: inout ByteBuffer) throws(RESPError) {
        guard self.pendingBytes + lineLength + 3 <= self.limits.maximumPendingBytes else {
            throw Self.fault(.valueTooLarge, buffer, length: lineLength + 1)
        }
        buffer.moveReaderIndex(forwardBy: lineLength + 3)
        self.pendingBytes += lineLength + 3
        self.scannedBytes = 0
    }

    @inline(__always)
    private static func slice(_ buffer: ByteBuffer, at index: Int, length: Int) -> ByteBuffer {
        guard let slice = buffer.getSlice(at: index, length: length) else {
            preconditionFailure("the buffer lost bytes that were looked at")
        }
        return slice
    }

    /// `length` is that of the part, at the start of the buffer, which is all there when the fault shows.
    @inline(never)
    private static func fault(_ code: RESPError.Code, _ buffer: ByteBuffer, length: Int) -> RESPError {
        buffer.withUnsafeReadableBytes { RESPError(code, UnsafeRawBufferPointer(rebasing: $0.prefix(length))) }
    }
}
