/// Where random numbers come from.
package protocol EntropySource: Sendable {
    /// Fills words with numbers that nobody can guess.
    func fill(_ words: inout [UInt64])
}

/// The system's random numbers: getentropy(3).
package struct SystemEntropy: EntropySource {
    /// As much as one call gives.
    private static let maximumWordCount = 32

    package init() {}

    package func fill(_ words: inout [UInt64]) {
        precondition(words.count <= Self.maximumWordCount)
        let result = words.withUnsafeMutableBytes { getentropy($0.baseAddress!, $0.count) }
        precondition(result == 0, "the system has no random numbers")
    }
}

/// Draws a word with each number that is asked for.
package struct EntropyGenerator: RandomNumberGenerator, Sendable {
    let entropy: any EntropySource

    package mutating func next() -> UInt64 {
        var words: [UInt64] = [0]
        self.entropy.fill(&words)
        return words[0]
    }
}

/// Draws 256 bytes at a time: one system call for many owners.
package struct BufferedRandomNumberGenerator: RandomNumberGenerator, Sendable {
    private static let wordCount = 32

    private let entropy: any EntropySource
    private var words: [UInt64] = []

    package init(_ entropy: any EntropySource) {
        self.entropy = entropy
    }

    package mutating func next() -> UInt64 {
        if self.words.isEmpty {
            self.words = [UInt64](repeating: 0, count: Self.wordCount)
            self.entropy.fill(&self.words)
        }
        return self.words.removeLast()
    }
}
