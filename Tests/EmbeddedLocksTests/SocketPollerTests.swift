import CEmbedded
import Foundation
import LockKernel
import Synchronization
import TestKit
import Testing

@testable import EmbeddedLocks

@Suite(.timeLimit(.minutes(1))) struct SocketPollerTests {
    /// How often something happened.
    private final class Count: Sendable {
        private let number = Atomic(0)
        var value: Int { self.number.load(ordering: .acquiring) }
        func add() { self.number.add(1, ordering: .acquiringAndReleasing) }
    }

    private func pair() throws -> (ours: Int32, theirs: Int32) {
        var ends: [Int32] = [-1, -1]
        try #require(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends) == 0)
        return (ends[0], ends[1])
    }

    private func send(_ descriptor: Int32) {
        var byte: UInt8 = 1
        _ = write(descriptor, &byte, 1)
    }

    /// Whether the other end has been closed.
    private func isAbandoned(_ descriptor: Int32) -> Bool {
        var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        return poll(&entry, 1, 0) > 0 && entry.revents & Int16(POLLHUP) != 0
    }

    @Test func `a watch is told each time, and one for once is over with the first`() async throws {
        let poller = try SystemPoller(.system)
        let (many, once) = (Count(), Count())
        let (first, second) = (try self.pair(), try self.pair())
        defer {
            close(first.theirs)
            close(second.theirs)
        }
        let watch = poller.watch(first.ours, isOnce: false) {
            var byte: UInt8 = 0
            _ = read(first.ours, &byte, 1)
            many.add()
        }
        _ = poller.watch(second.ours, isOnce: true) { once.add() }
        for number in 1...3 {
            self.send(first.theirs)
            try await eventually("the message \(number) is read") { many.value == number }
        }
        self.send(second.theirs)
        try await eventually("it is told once, and the descriptor closed") { self.isAbandoned(second.theirs) }
        #expect(once.value == 1)
        poller.cancel(watch)
        try await eventually("a cancelled watch closes its descriptor") { self.isAbandoned(first.theirs) }
        #expect(many.value == 3)
    }

    @Test func `the end of the other side is told`() async throws {
        let poller = try SystemPoller(.system)
        let ended = Count()
        let sockets = try self.pair()
        _ = poller.watch(sockets.ours, isOnce: true) { ended.add() }
        close(sockets.theirs)
        try await eventually("the end is told") { ended.value == 1 }
    }

    @Test func `watches that are cancelled while they are told close every descriptor once`() async throws {
        let poller = try SystemPoller(.system)
        let told = Count()
        for round in 0..<500 {
            let sockets = try self.pair()
            let watch = poller.watch(sockets.ours, isOnce: true) { told.add() }
            if round.isMultiple(of: 2) { self.send(sockets.theirs) }
            poller.cancel(watch)
            poller.cancel(watch)
            try await eventually("closed") { self.isAbandoned(sockets.theirs) }
            close(sockets.theirs)
        }
        #expect(told.value <= 250)
    }

    @Test func `more descriptors than this process may have open are looked at all the same`() throws {
        var limit = rlimit()
        try #require(getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0)
        try #require(limit.rlim_cur <= 4_000_000)
        let sockets = try self.pair()
        defer {
            close(sockets.ours)
            close(sockets.theirs)
        }
        self.send(sockets.theirs)
        // poll(2) refuses as many, whatever they are.
        var descriptors = [pollfd](repeating: pollfd(fd: -1, events: 0, revents: 0), count: Int(limit.rlim_cur) + 1)
        descriptors[descriptors.count - 1] = pollfd(fd: sockets.ours, events: Int16(POLLIN), revents: 0)
        try #require(poll(&descriptors, nfds_t(descriptors.count), 0) == -1 && errno == EINVAL)
        #expect(SystemPoller.wait(for: &descriptors))
        #expect(descriptors[descriptors.count - 1].revents == Int16(POLLIN))
    }

    @Test func `what is opened is closed on exec, from the first instant on`() throws {
        var ends: [Int32] = [-1, -1]
        try #require(cemb_pipe(&ends) == 0)
        let listener = try SystemSockets().make(.stream)
        defer { for descriptor in ends + [listener] { close(descriptor) } }
        for descriptor in ends + [listener] {
            #expect(fcntl(descriptor, F_GETFD) & FD_CLOEXEC != 0)
            #expect(fcntl(descriptor, F_GETFL) & O_NONBLOCK != 0)
        }
    }

    @Test func `a poller without watches ends, and begins again`() async throws {
        weak var gone: SystemPoller?
        do {
            let poller = try SystemPoller(.system)
            gone = poller
            for _ in 0..<3 {
                let sockets = try self.pair()
                let told = Count()
                _ = poller.watch(sockets.ours, isOnce: true) { told.add() }
                self.send(sockets.theirs)
                try await eventually("told") { told.value == 1 }
                close(sockets.theirs)
            }
        }
        // Its thread held it.
        try await eventually("nothing is left of it") { gone == nil }
    }
}
