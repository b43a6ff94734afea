import Jute
import NIOCore

/// What is checked, of the bytes that a ZooKeeper server might send:
///
/// - nothing traps, and nothing is read outside the bytes (AddressSanitizer);
/// - frames are the same however the bytes are cut;
/// - what is read is not larger than what was sent;
/// - a stat, an event and a connect response that are read are written as the same bytes again.
///
/// The first byte says what was asked; the rest is the stream.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzJute(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    guard count > 0 else { return 0 }
    let bytes = Array(UnsafeBufferPointer(start: start, count: count))
    let kind = Int(bytes[0]) % 8
    let stream = bytes[1...]
    let limits = JuteLimits(frameBytes: 4_096, listElements: 64, multiResults: 16)
    let whole = frames([stream], limits)
    let cut = stream.startIndex + (count > 2 ? Int(bytes[count - 1]) % stream.count : 0)
    precondition(frames([stream[..<cut], stream[cut...]], limits) == whole, "frames depend on how the bytes arrive")
    for frame in whole.frames { read(ByteBuffer(bytes: frame), kind, limits) }
    return 0
}

private struct Frames: Equatable {
    var frames: [[UInt8]] = []
    var isBroken = false
}

private func frames(_ parts: [ArraySlice<UInt8>], _ limits: JuteLimits) -> Frames {
    let decoder = JuteFrameDecoder(limits: limits)
    var buffer = ByteBuffer()
    var found = Frames()
    for part in parts where !found.isBroken {
        buffer.writeBytes(part)
        do {
            while let frame = try decoder.next(from: &buffer) { found.frames.append(Array(frame.readableBytesView)) }
        } catch {
            found.isBroken = true
        }
    }
    return found
}

private func read(_ frame: ByteBuffer, _ kind: Int, _ limits: JuteLimits) {
    var reader = JuteReader(frame, limits: limits)
    if kind == 0 {
        guard let response = try? ConnectResponse(from: &reader) else { return }
        var again = ByteBuffer()
        response.writeFrame(into: &again)
        var second = JuteReader(again.getSlice(at: 4, length: again.readableBytes - 4) ?? ByteBuffer(), limits: limits)
        guard let copy = try? ConnectResponse(from: &second) else { preconditionFailure("what was written is not read") }
        precondition(copy == response)
        return
    }
    guard let header = try? ReplyHeader(from: &reader) else { return }
    if header.xid == ZooKeeperRequest.watchXid {
        guard let event = try? WatchEvent(from: &reader) else { return }
        var again = ByteBuffer()
        event.write(into: &again)
        var second = JuteReader(again, limits: limits)
        guard let copy = try? WatchEvent(from: &second) else { preconditionFailure("what was written is not read") }
        precondition(copy == event)
        return
    }
    let requests: [ZooKeeperRequest] = [
        .create(path: "/a", data: [], access: .open, mode: .ephemeralSequential), .exists(path: "/a"), .getData(path: "/a"),
        .getChildren(path: "/a"), .sync(path: "/a"), .multi([]), .delete(path: "/a"),
    ]
    guard let answer = try? ZooKeeperAnswer(to: requests[kind - 1], from: &reader) else { return }
    switch answer {
    case .children(let children, _):
        precondition(children.count <= limits.listElements)
        precondition(children.reduce(0) { $0 + $1.utf8.count } <= frame.readableBytes)
    case .data(let data, _): precondition(data.count <= frame.readableBytes)
    case .multi(let parts): precondition(parts.count <= limits.multiResults)
    case .stat(let stat):
        var again = ByteBuffer()
        stat.write(into: &again)
        precondition(Array(again.readableBytesView) == Array(frame.readableBytesView.suffix(again.readableBytes)))
    case .created, .path, .done: break
    }
}
