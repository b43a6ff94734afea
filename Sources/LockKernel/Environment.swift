/// The one door to the outside: whatever is not decided here comes through it, the time, random numbers, threads, and which
/// process this is.
///
/// Nothing else reads a clock, draws a number, or makes a thread or a queue (HouseTests looks). So whoever puts another one
/// in its place has the whole of a client in hand: a simulator runs the same code on a time of its own. Connections
/// come from `Connector` (LockTransport), and the files and sockets of a host from the embedded backend's own environment.
package final class Environment: Sendable {
    @usableFromInline package let time: any TimeSource
    package let entropy: any EntropySource
    package let threads: any ThreadSource
    package let process: any ProcessSource
    /// Where what may block is done. One for a process, as its environment is.
    package let blocking: BlockingWork

    /// The machine's own.
    package static let system = Environment()

    package init(
        time: any TimeSource = SystemTime(),
        entropy: any EntropySource = SystemEntropy(),
        threads: any ThreadSource = SystemThreads(),
        process: any ProcessSource = SystemProcess()
    ) {
        self.time = time
        self.entropy = entropy
        self.threads = threads
        self.process = process
        self.blocking = BlockingWork(threads: threads)
    }

    /// The present instant.
    @inlinable package var now: BootInstant { self.time.now() }

    /// Draws from the entropy, with a call for each word.
    package var generator: EntropyGenerator { EntropyGenerator(entropy: self.entropy) }

    /// From 0 up to, and not including, 1: what pauses are spread by.
    package func fraction() -> Double {
        var generator = self.generator
        return Double.random(in: 0..<1, using: &generator)
    }

    package func milliseconds(in range: ClosedRange<Int>) -> Duration {
        var generator = self.generator
        return .milliseconds(Int.random(in: range, using: &generator))
    }
}
