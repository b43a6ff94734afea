import NIOCore
import ZooKeeperLocks

/// The server's half of the wire: the reader of requests. The client's half is the shipped one.
enum ZooKeeperServerWire {
    /// - Throws: if that is no request. What is one, and is not simulated, ends the process.
    static func request(_ frame: ByteBuffer) throws(JuteError) -> (xid: Int32, request: ZooKeeperRequest) {
        var reader = JuteReader(frame)
        let xid = try reader.int32()
        let operation = try reader.int32()
        let request: ZooKeeperRequest
        switch operation {
        case 1, 2, 5, 13, 15, 19: request = try self.write(operation, &reader)
        case 3: request = .exists(path: try reader.string(), watch: try reader.bool())
        case 4: request = .getData(path: try reader.string(), watch: try reader.bool())
        case 12: request = .getChildren(path: try reader.string(), watch: try reader.bool())
        case 9: request = .sync(path: try reader.string())
        case 11: request = .ping
        case -11: request = .closeSession
        case 14: request = .multi(try self.parts(&reader))
        case 100:
            _ = try reader.int32()
            request = .authenticate(scheme: try reader.string(), credentials: try reader.bytes())
        case 105:
            let zxid = try reader.int64()
            let paths = try reader.strings()
            for _ in 0..<4 {
                let others = try reader.strings()
                precondition(others.isEmpty, "watches on anything but data are not simulated")
            }
            request = .setDataWatches(paths: paths, relativeZxid: zxid)
        case _: preconditionFailure("operation \(operation) is not simulated")
        }
        try reader.finish("a request")
        return (xid, request)
    }

    private static func write(_ operation: Int32, _ reader: inout JuteReader) throws(JuteError) -> ZooKeeperRequest {
        let path = try reader.string()
        switch operation {
        case 15, 19:
            let data = try reader.bytes()
            let access = try self.access(&reader)
            let number = try reader.int32()
            guard let mode = NodeMode(rawValue: number), (mode == .container) == (operation == 19) else {
                preconditionFailure("a create of the mode \(number) is not simulated")
            }
            return .create(path: path, data: data, access: access, mode: mode)
        case 2: return .delete(path: path, version: try reader.int32())
        case 5: return .setData(path: path, data: try reader.bytes(), version: try reader.int32())
        case 13: return .check(path: path, version: try reader.int32())
        case _: preconditionFailure("a write by operation \(operation) is not simulated")
        }
    }

    private static func access(_ reader: inout JuteReader) throws(JuteError) -> NodeAccess {
        let count = try reader.int32()
        let permissions = try reader.int32()
        let scheme = try reader.string()
        let id = try reader.string()
        precondition(count == 1 && permissions == 31, "a list of permissions for some is not simulated")
        switch (scheme, id) {
        case ("world", "anyone"): return .open
        case ("auth", ""): return .creator
        case _: preconditionFailure("permissions for \(scheme):\(id) are not simulated")
        }
    }

    private static func parts(_ reader: inout JuteReader) throws(JuteError) -> [ZooKeeperRequest] {
        var parts: [ZooKeeperRequest] = []
        while true {
            let operation = try reader.int32()
            let isDone = try reader.bool()
            _ = try reader.int32()
            if isDone { return parts }
            parts.append(try self.write(operation, &reader))
        }
    }

    // MARK: Replies

    static func reply(
        _ xid: Int32, zxid: Int64, _ outcome: ZooKeeperOutcome, to request: ZooKeeperRequest
    ) -> ByteBuffer {
        var buffer = ByteBuffer()
        buffer.writeJuteFrame { buffer in
            switch outcome {
            case .refused(let code):
                ReplyHeader(xid: xid, zxid: zxid, error: code).write(into: &buffer)
            case .answer(let answer):
                ReplyHeader(xid: xid, zxid: zxid, error: .ok).write(into: &buffer)
                self.write(answer, to: request, into: &buffer)
            }
        }
        return buffer
    }

    static func event(_ event: WatchEvent) -> ByteBuffer {
        var buffer = ByteBuffer()
        buffer.writeJuteFrame { buffer in
            ReplyHeader(xid: ZooKeeperRequest.watchXid, zxid: -1, error: .ok).write(into: &buffer)
            event.write(into: &buffer)
        }
        return buffer
    }

    private static func write(
        _ answer: ZooKeeperAnswer, to request: ZooKeeperRequest, into buffer: inout ByteBuffer
    ) {
        switch answer {
        case .created(let path, let stat):
            buffer.writeJuteString(path)
            stat.write(into: &buffer)
        case .stat(let stat): stat.write(into: &buffer)
        case .data(let data, let stat):
            buffer.writeJuteBytes(data)
            stat.write(into: &buffer)
        case .children(let names, let stat):
            buffer.writeJuteList(names) { $0.writeJuteString($1) }
            stat.write(into: &buffer)
        case .path(let path): buffer.writeJuteString(path)
        case .done: break
        case .multi(let results):
            guard case .multi(let parts) = request else { preconditionFailure("\(request) was answered as a multi") }
            for (result, part) in zip(results, parts) { self.write(result, of: part, into: &buffer) }
            self.writeHeader(-1, isDone: true, error: -1, into: &buffer)
        }
    }

    private static func write(
        _ result: ZooKeeperAnswer.MultiResult, of part: ZooKeeperRequest, into buffer: inout ByteBuffer
    ) {
        switch result {
        case .created(let path, let stat):
            self.writeHeader(stat == nil ? 1 : 15, isDone: false, error: 0, into: &buffer)
            buffer.writeJuteString(path)
            stat?.write(into: &buffer)
        case .stat(let stat):
            self.writeHeader(5, isDone: false, error: 0, into: &buffer)
            stat.write(into: &buffer)
        case .done:
            self.writeHeader(part.operation, isDone: false, error: 0, into: &buffer)
        case .failed(let code):
            self.writeHeader(-1, isDone: false, error: code.rawValue, into: &buffer)
            buffer.writeInteger(code.rawValue)
        }
    }

    private static func writeHeader(_ operation: Int32, isDone: Bool, error: Int32, into buffer: inout ByteBuffer) {
        buffer.writeInteger(operation)
        buffer.writeJuteBool(isDone)
        buffer.writeInteger(error)
    }
}
