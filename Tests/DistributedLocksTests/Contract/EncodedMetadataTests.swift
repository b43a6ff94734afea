import DistributedLocks
import TestKit
import Testing

@Suite struct EncodedMetadataTests {
    @Test func `metadata are encoded once for as long as they are the same`() {
        let count = Mutexed(0)
        var encoded = EncodedMetadata { metadata in
            count.withLock { $0 += 1 }
            return Array("\(metadata.host) \(metadata.pid) \(metadata.label ?? "-")".utf8)
        }
        let (first, second) = (OwnerMetadata(host: "h", pid: 1), OwnerMetadata(host: "h", pid: 1, label: "l"))
        for _ in 0..<3 { #expect(encoded.bytes(of: first) == Array("h 1 -".utf8)) }
        #expect(count.withLock { $0 } == 1)
        #expect(encoded.bytes(of: second) == Array("h 1 l".utf8))
        #expect(encoded.bytes(of: first) == Array("h 1 -".utf8))
        #expect(count.withLock { $0 } == 3)
    }
}
