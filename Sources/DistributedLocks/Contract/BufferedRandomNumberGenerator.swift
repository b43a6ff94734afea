#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// The system's random numbers, fetched 256 bytes at a time: one system call for many owners.
package struct BufferedRandomNumberGenerator: RandomNumberGenerator, Sendable {
    /// As much as getentropy(3) gives in one call.
    private static let wordCount = 32

    private var words: [UInt64] = []

    package init() {}

    package mutating func next() -> UInt64 {
        if self.words.isEmpty {
            self.words = [UInt64](repeating: 0, count: Self.wordCount)
            let result = self.words.withUnsafeMutableBytes { getentropy($0.baseAddress!, $0.count) }
            precondition(result == 0, "the system has no random numbers")
        }
        return self.words.removeLast()
    }
}
