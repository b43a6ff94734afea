/// The highest token seen for each lock name and domain, for a bounded number of names.
///
/// Two generations: names that were used since the last turn, and those before. A turn comes when the young generation
/// is full, and forgets the old one: between one and two times `namesPerGeneration` of the latest names are remembered.
struct TokenHighWater: Sendable {
    private struct Key: Hashable, Sendable {
        let name: LockName
        let domain: TokenDomain
    }

    static let namesPerGeneration = 16_384

    private var young: [Key: FencingToken] = [:]
    private var old: [Key: FencingToken] = [:]

    var count: Int { self.young.count + self.old.count }

    /// Notes a token. If it is not above the highest one seen, returns that and changes nothing.
    mutating func refusal(of token: FencingToken, name: LockName, domain: TokenDomain) -> FencingToken? {
        let key = Key(name: name, domain: domain)
        if let index = self.young.index(forKey: key) {
            let highest = self.young.values[index]
            if token <= highest { return highest }
            self.young.values[index] = token
            return nil
        }
        if let highest = self.old[key], token <= highest { return highest }
        if self.young.count >= Self.namesPerGeneration {
            self.old = self.young
            self.young = [:]
        }
        self.young[key] = token
        return nil
    }
}
