/// What a store keeps of an owner's metadata, encoded once for as long as they are the same: as a rule for the life of a client.
package struct EncodedMetadata: Sendable {
    private let encode: @Sendable (OwnerMetadata) -> [UInt8]
    private var last: (metadata: OwnerMetadata, bytes: [UInt8])?

    package init(_ encode: @escaping @Sendable (OwnerMetadata) -> [UInt8]) {
        self.encode = encode
    }

    package mutating func bytes(of metadata: OwnerMetadata) -> [UInt8] {
        if let last, last.metadata == metadata { return last.bytes }
        let bytes = self.encode(metadata)
        self.last = (metadata, bytes)
        return bytes
    }
}
