#if Embedded
import CEmbedded
package import LockKernel
import Synchronization

/// Waits for sockets on a thread of its own, with poll(2) and a pipe that ends a wait. The thread is there while something
/// is waited for.
///
/// Not with sources of Dispatch: one that was cancelled while its event arrived crashed the process, once in some thousand
/// processes on a busy machine (`_dispatch_source_refs_finalize_unregistration`, Swift 6.3.1 on Linux).
package final class SystemPoller: SocketPoller {
    private struct Entry: Sendable {
        let descriptor: Int32
        let isOnce: Bool
        var isPaused = false
        let ready: @Sendable () -> Void
    }

    private struct State {
        var entries: [SocketWatch: Entry] = [:]
        /// To be closed by the thread, which may be polling them.
        var closing: [Int32] = []
        var lastNumber: UInt64 = 0
        var isRunning = false
    }

    private let state = Mutex(State())
    private let threads: any ThreadSource
    private let queue: any WorkQueue
    private let wakeReader: Int32
    private let wakeWriter: Int32

    /// Fails if no pipe can be made.
    package init(_ environment: Environment) throws(HostFailure) {
        var ends: [Int32] = [-1, -1]
        guard cemb_pipe(&ends) == 0 else { throw .last }
        self.threads = environment.threads
        self.queue = environment.threads.makeQueue("dlock.sockets")
        self.wakeReader = ends[0]
        self.wakeWriter = ends[1]
    }

    // The thread holds the poller, so none is there any more.
    deinit {
        close(self.wakeReader)
        close(self.wakeWriter)
        for descriptor in self.state.withLock({ $0.closing }) { close(descriptor) }
    }

    package func watch(_ descriptor: Int32, isOnce: Bool, ready: @escaping @Sendable () -> Void) -> SocketWatch {
        let (watch, starts) = self.state.withLock { state in
            state.lastNumber += 1
            let watch = SocketWatch(number: state.lastNumber)
            state.entries[watch] = Entry(descriptor: descriptor, isOnce: isOnce, ready: ready)
            defer { state.isRunning = true }
            return (watch, !state.isRunning)
        }
        if starts { self.queue.async { self.run() } } else { self.wake() }
        return watch
    }

    package func cancel(_ watch: SocketWatch) {
        let isKnown = self.state.withLock { state in
            guard let entry = state.entries.removeValue(forKey: watch) else { return false }
            state.closing.append(entry.descriptor)
            return true
        }
        if isKnown { self.wake() }
    }

    package func pause(_ watch: SocketWatch) { self.set(watch, isPaused: true) }

    package func resume(_ watch: SocketWatch) { self.set(watch, isPaused: false) }

    private func set(_ watch: SocketWatch, isPaused: Bool) {
        let isChanged = self.state.withLock { state in
            guard let old = state.entries[watch]?.isPaused, old != isPaused else { return false }
            state.entries[watch]?.isPaused = isPaused
            return true
        }
        if isChanged && !isPaused { self.wake() }
    }

    private func wake() {
        var byte: UInt8 = 0
        // A pipe that is full wakes, too.
        _ = write(self.wakeWriter, &byte, 1)
    }

    private func run() {
        while true {
            let (entries, closing) = self.state.withLock { state in
                defer { state.closing = [] }
                if state.entries.isEmpty { state.isRunning = false }
                return (Array(state.entries), state.closing)
            }
            for descriptor in closing { close(descriptor) }
            if entries.isEmpty { return }
            // poll(2) passes over negative ones.
            var descriptors = entries.map {
                pollfd(fd: $0.value.isPaused ? -1 : $0.value.descriptor, events: Int16(POLLIN), revents: 0)
            }
            descriptors.append(pollfd(fd: self.wakeReader, events: Int16(POLLIN), revents: 0))
            guard Self.wait(for: &descriptors, self.threads) else { continue }
            var bytes = [UInt8](repeating: 0, count: 64)
            while read(self.wakeReader, &bytes, bytes.count) == bytes.count {}
            for (index, entry) in entries.enumerated() where descriptors[index].revents != 0 {
                self.fire(entry.key, isInvalid: descriptors[index].revents & Int16(POLLNVAL) != 0)
            }
        }
    }

    /// Waits until one of them is ready. False if that has to be tried again.
    static func wait(for descriptors: inout [pollfd], _ threads: any ThreadSource = SystemThreads()) -> Bool {
        let count = poll(&descriptors, nfds_t(descriptors.count), -1)
        if count >= 0 { return count > 0 }
        if errno == EINTR { return false }
        // More than this process may have open: its limit was lowered since. So they are looked at in parts, again and again.
        while true {
            for start in stride(from: 0, to: descriptors.count, by: Self.partLength) {
                let end = min(start + Self.partLength, descriptors.count)
                let ready = descriptors[start..<end].withUnsafeMutableBufferPointer { part in
                    poll(part.baseAddress, nfds_t(part.count), 0)
                }
                if ready > 0 { return true }
            }
            threads.pause(microseconds: Self.pauseBetweenLooksInMicroseconds)
        }
    }

    private static let partLength = 8
    private static let pauseBetweenLooksInMicroseconds: UInt32 = 5_000

    private func fire(_ watch: SocketWatch, isInvalid: Bool) {
        let entry = self.state.withLock { state -> Entry? in
            guard let entry = state.entries[watch] else { return nil }
            if isInvalid {
                // Somebody else has closed it, and its number may be another one's by now.
                state.entries[watch] = nil
                return entry
            }
            if entry.isOnce {
                state.entries[watch] = nil
                state.closing.append(entry.descriptor)
            }
            return entry
        }
        entry?.ready()
    }
}
#endif
