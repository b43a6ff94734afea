// Decodes arbitrary bytes under small limits, in one piece and in random pieces, and checks that both find the same,
// that what is kept stays bounded, and that what was decoded comes back when it is encoded and decoded again.

import NIOCore
import RESP

private let limits = RESPLimits(
    maximumBulkLengthInBytes: 64,
    maximumLineLengthInBytes: 40,
    maximumNestingDepth: 4,
    maximumElementCount: 48,
    maximumPendingBytes: 400
)

/// What is in the buffer while a value is incomplete: one line, or the rest of a value that is within the limits.
private let maximumUnreadBytes = max(limits.maximumLineLengthInBytes + 3, limits.maximumPendingBytes)

/// `precondition` would not say which one failed: optimised, it drops its message.
private func check(_ holds: Bool, _ message: @autoclosure () -> String) {
    if !holds { fatalError(message()) }
}

/// SplitMix64, https://prng.di.unimi.it/splitmix64.c
private struct Generator: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        self.state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = self.state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}

/// All that came out of some bytes.
private struct Decoded {
    var values: [RESPValue] = []
    var error: RESPError?
    /// Of the bytes given to the decoder, those that it did not take.
    var unread = ByteBuffer()
    var pendingBytes = 0
    private var decoder = RESPDecoder(limits: limits)

    /// False once the decoder failed.
    mutating func read(_ piece: ByteBuffer) -> Bool {
        self.unread.appendReceived(piece)
        do throws(RESPError) {
            while let value = try self.decoder.next(from: &self.unread) {
                check(self.decoder.pendingBytes == 0, "pending bytes of a value that was handed out")
                self.values.append(value)
            }
        } catch {
            self.error = error
            self.checkStaysFailed(error)
            return false
        }
        self.pendingBytes = self.decoder.pendingBytes
        check(self.pendingBytes <= limits.maximumPendingBytes, "\(self.pendingBytes) pending bytes")
        check(self.unread.readableBytes <= maximumUnreadBytes, "\(self.unread.readableBytes) bytes unread")
        check(
            self.pendingBytes + self.unread.readableBytes
                <= limits.maximumPendingBytes + limits.maximumLineLengthInBytes + 3, "too much is kept")
        return true
    }

    private mutating func checkStaysFailed(_ error: RESPError) {
        let unread = self.unread
        var more = ByteBuffer(string: "+OK\r\n")
        for _ in 0..<2 {
            do throws(RESPError) {
                _ = try self.decoder.next(from: &more)
                fatalError("a failed decoder went on")
            } catch let again {
                check(again == error, "a failed decoder threw another error")
            }
        }
        check(more.readableBytes == 5 && self.unread == unread, "a failed decoder took bytes")
        check("\(error)".utf8.allSatisfy { 0x20..<0x7F ~= $0 }, "an error's text is not printable")
    }
}

private func encode(_ values: [RESPValue], _ version: RESPVersion) -> ByteBuffer {
    var buffer = ByteBuffer()
    for value in values { buffer.writeRESP(value, version: version) }
    return buffer
}

private func decodeAll(_ bytes: ByteBuffer) -> [RESPValue] {
    var decoder = RESPDecoder()
    var bytes = bytes
    var values: [RESPValue] = []
    do throws(RESPError) {
        while let value = try decoder.next(from: &bytes) { values.append(value) }
    } catch {
        fatalError("what was encoded cannot be decoded: \(error)")
    }
    check(bytes.readableBytes == 0 && decoder.pendingBytes == 0, "what was encoded is not whole")
    return values
}

/// The values that came out of one piece and of several, and those that came out of their encoding, are the same. They
/// are compared as bytes, as a number that is none is unequal to itself.
private func checkEncoding(_ whole: Decoded, _ split: Decoded) {
    let bytes = encode(whole.values, .resp3)
    check(encode(split.values, .resp3) == bytes, "pieces were decoded to other values")
    let again = decodeAll(bytes)
    check(again.count == whole.values.count, "encoding changed the number of values")
    check(encode(again, .resp3) == bytes, "encoding changed the values")

    let older = encode(whole.values, .resp2)
    let olderAgain = decodeAll(older)
    check(olderAgain.count == whole.values.count, "encoding in version 2 changed the number of values")
    check(encode(olderAgain, .resp2) == older, "what version 2 can express did not come back")
    check(
        encode(olderAgain, .resp3).readableBytes <= older.readableBytes, "version 2 was read as something else")
}

/// Looks at values in all ways there are. None may trap, and no text may show a payload.
private func checkAccess(_ values: [RESPValue]) {
    for value in values {
        check((value.errorText != nil) == value.isError, "an error without a text")
        check((value.string != nil) == (value.bytes != nil), "a string without bytes")
        check("\(value)".utf8.allSatisfy { 0x20..<0x7F ~= $0 }, "a value's description is not printable")
        if let number = value.int {
            var command = ByteBuffer()
            command.writeRESPBulk(number)
            check(decodeAll(command).first?.int == number, "a number was written as another")
        }
        _ = value["txt"]
        if let elements = value.elements { checkAccess(elements) }
    }
}

/// What libFuzzer calls with each input. Traps if the input shows a fault, and returns 0 otherwise.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let input = ByteBuffer(bytes: UnsafeRawBufferPointer(start: start, count: count))

    var whole = Decoded()
    _ = whole.read(input)

    // FNV-1a: the pieces follow from the input, so that a crash file shows the same fault again.
    var seed: UInt64 = 0xCBF2_9CE4_8422_2325
    for byte in input.readableBytesView { seed = (seed ^ UInt64(byte)) &* 0x0000_0100_0000_01B3 }
    var generator = Generator(state: seed)
    let longest = [1, 3, 16, 100].randomElement(using: &generator) ?? 1

    var split = Decoded()
    var rest = input
    while let piece = rest.readSlice(length: min(rest.readableBytes, .random(in: 0...longest, using: &generator))) {
        guard split.read(piece) else { break }
        if rest.readableBytes == 0 { break }
    }

    check(split.error == whole.error, "pieces ended otherwise than the whole")
    if whole.error == nil {
        check(split.unread == whole.unread, "pieces left other bytes than the whole")
        check(split.pendingBytes == whole.pendingBytes, "pieces left other pending bytes than the whole")
    }
    checkEncoding(whole, split)
    checkAccess(whole.values)
    return 0
}
