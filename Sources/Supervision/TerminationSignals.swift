private import CSupervision
private import Dispatch
private import LockKernel

/// The signals that others send to this process, as values. For the life of the process: nothing undoes it.
///
/// A signal that was ignored when the process was started (`nohup`) stays ignored, here and in the command.
package enum TerminationSignals {
    /// What is passed on to a command, and SIGCONT, after which the terminal has to be looked at again.
    package static let usual: [Int32] = [SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGTSTP, SIGCONT]

    /// Captures signals from now on. To be called once. The stream is for one reader and holds 64: when nobody reads,
    /// later ones are dropped.
    package static func capture(_ signals: [Int32] = usual) -> AsyncStream<Int32> {
        let (stream, continuation) = AsyncStream.makeStream(of: Int32.self, bufferingPolicy: .bufferingOldest(64))
        capture(signals) { continuation.yield($0) }
        return stream
    }

    /// What ends a process that does not care.
    private static let deadly: [Int32] = [SIGINT, SIGTERM, SIGHUP, SIGQUIT]

    /// From now on a signal that would end this process does so after the closure has run. To be called once, in place of
    /// ``capture(_:)``. The closure runs on a thread of its own.
    package static func beforeDeath(_ cleanUp: @escaping @Sendable () -> Void) {
        capture(deadly) { signal in
            cleanUp()
            csup_die_of(signal)
        }
    }

    private static func capture(_ signals: [Int32], _ arrived: @escaping @Sendable (Int32) -> Void) {
        let descriptor = csup_capture_descriptor()
        precondition(descriptor >= 0, "no pipe for signals: errno \(errno)")
        let source = DispatchSource.makeReadSource(
            fileDescriptor: descriptor,
            queue: DispatchQueue(label: "dlock.signals", qos: .userInitiated)
        )
        source.setEventHandler {
            // The source lives as long as its handler refers to it, which is as long as it is not cancelled.
            _ = source
            var numbers = [UInt8](repeating: 0, count: 64)
            while case let count = read(descriptor, &numbers, numbers.count), count > 0 {
                for number in numbers[..<count] { arrived(Int32(number)) }
            }
        }
        source.resume()
        for signal in signals {
            let error = csup_capture(signal)
            precondition(error == 0, "signal \(signal) cannot be captured: errno \(error)")
        }
    }

    package static func wasIgnoredAtStart(_ signal: Int32) -> Bool {
        csup_ignored_at_start(signal)
    }

    /// Stops this process and its group, as an uncaptured Ctrl-Z does; returns when it was continued. For a process that
    /// captures SIGTSTP and has no command yet whose stop it could follow.
    package static func stop(by signal: Int32 = SIGTSTP) {
        _ = csup_stop_own_group(signal)
    }
}
