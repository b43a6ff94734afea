import CSupervision
import LockKernel
import Supervision
import TestKit
import Testing

#if os(Linux)
extension ProcessTests {
    /// What is killed is the command's group, never another process that got its number.
    // C6
    @Suite struct NumberReuseTests {
        private let directory = TemporaryDirectory()

        @Test func `a dlock that was stopped when its watchdog was killed kills no stranger`() async throws {
            // Where the agent does not adopt it, the command's leader comes to the tests, which reap it as init does.
            csup_adopt_orphans()
            let (fifo, read) = directory.fifo("out")
            let agent = Agent(command: ["sh", "-c", "exec >$0; echo $PPID; exec sleep 1000", fifo])
            let group = await agent.waitForStart()
            _ = await read.wait(for: Int32(POLLIN))
            let watchdog = try #require(pid_t(await read.readLine()))
            try stopProcess(agent.pid)
            kill(watchdog, SIGKILL)
            #expect(await isGone(group))
            csup_reap(group)
            // If nobody has reaped the leader, its number cannot be had, and that is as good.
            let stranger = try OtherProcess.withNumber(group)
            agent.signal(SIGCONT)
            #expect(await agent.exitCode == 79)
            if let stranger { #expect(stranger.end() == SIGTERM) }
        }

        @Test(.enabled(if: geteuid() == 0, "only root chooses the number of the next process"))
        func `a group is killed by what it was, not by its number`() throws {
            let leader = try OtherProcess(["sleep", "1000"])
            let descriptor = try leader.descriptor()
            leader.end()
            let stranger = try #require(try OtherProcess.withNumber(leader.pid))
            csup_kill_group(leader.pid, descriptor.number)
            #expect(stranger.end() == SIGTERM)
        }

        @Test func `what is left of a group is killed when its leader is gone`() async throws {
            let (fifo, read) = directory.fifo("out")
            let leader = try OtherProcess(["sh", "-c", "exec >$0; sleep 1000 & echo ready; wait", fifo])
            let descriptor = try leader.descriptor()
            _ = await read.wait(for: Int32(POLLIN))
            leader.end()
            #expect(csup_group_is_alive(leader.pid))
            csup_kill_group(leader.pid, descriptor.number)
            #expect(await read.wait(for: Int32(POLLHUP)))
            #expect(await isGone(leader.pid))
        }
    }
}

/// A child of the tests that leads a group of its own.
private final class OtherProcess: Sendable {
    let pid: pid_t

    init(_ arguments: [String]) throws {
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        // Threads of the pool block most signals, and what they start would inherit that.
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK))
        var mask = sigset_t()
        sigemptyset(&mask)
        posix_spawnattr_setsigmask(&attributes, &mask)
        posix_spawnattr_setpgroup(&attributes, 0)
        var argv = arguments.map { strdup($0) } + [nil]
        defer { argv.forEach { free($0) } }
        var pid: pid_t = 0
        let error = posix_spawnp(&pid, argv[0]!, nil, &attributes, &argv, environ)
        try #require(error == 0, "posix_spawn: \(error)")
        self.pid = pid
    }

    /// One that has a number which was another's; `nil` if it cannot be had. The kernel counts upwards from the number that
    /// it gave last; other tests start processes meanwhile.
    static func withNumber(_ number: pid_t) throws -> OtherProcess? {
        for _ in 0..<200 {
            let file = Descriptor(open("/proc/sys/kernel/ns_last_pid", O_WRONLY | O_CLOEXEC))
            try #require(file.number >= 0, "only root may choose the next number: errno \(errno)")
            _ = "\(number - 1)".withCString { write(file.number, $0, strlen($0)) }
            let process = try OtherProcess(["sleep", "1000"])
            if process.pid == number { return process }
            process.end()
        }
        return nil
    }

    func descriptor() throws -> Descriptor {
        let descriptor = Descriptor(csup_pidfd(self.pid))
        try #require(descriptor.number >= 0)
        return descriptor
    }

    /// Ends it by SIGTERM, and tells by which signal it died: SIGKILL if that had been sent before.
    @discardableResult
    func end() -> Int32 {
        kill(self.pid, SIGTERM)
        var status: Int32 = 0
        while waitpid(self.pid, &status, 0) < 0, errno == EINTR {}
        return status & 0x7f
    }
}
#endif
