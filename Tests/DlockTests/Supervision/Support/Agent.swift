import LockKernel
import Testing

/// A process of its own that supervises a command as `dlock` does.
final class Agent: Sendable {
    let pid: pid_t
    /// What it says about itself, line by line.
    let report: Descriptor
    /// The command's standard output. Only the agent and the command's processes hold the other end.
    let output: Descriptor
    private let status: Task<Int32, Never>

    /// Where the build puts the executable: beside the tests.
    static let path: String = {
        #if canImport(Darwin)
        var info = Dl_info()
        _ = dladdr(#dsohandle, &info)
        var directory = String(cString: info.dli_fname)
        #else
        var buffer = [UInt8](repeating: 0, count: 4096)
        let length = buffer.withUnsafeMutableBytes { readlink("/proc/self/exe", $0.baseAddress!, $0.count) }
        var directory = String(decoding: buffer.prefix(max(0, length)), as: UTF8.self)
        #endif
        repeat {
            directory = String(directory[..<(directory.lastIndex(of: "/") ?? directory.startIndex)])
        } while access("\(directory)/test-agent", X_OK) != 0 && !directory.isEmpty
        return "\(directory)/test-agent"
    }()

    /// - Parameters:
    ///   - wrapper: A command line in front of the agent's, such as `nohup`.
    ///   - input: Its standard input; `nil` for a closed one.
    ///   - terminal: The path of a terminal that becomes its controlling one, and all three of its standard
    ///     descriptors, in a session of its own.
    convenience init(
        _ options: [String] = [],
        command: [String],
        wrapper: [String] = [],
        input: String? = "/dev/null",
        liveness: Liveness? = nil,
        terminal: String? = nil
    ) {
        let liveDescriptor = liveness == nil ? [] : ["--liveness", "4"]
        let arguments =
            wrapper + [Self.path, "--supervise", "--report", "3"] + options + liveDescriptor + ["--"] + command
        self.init(arguments, input: input, liveness: liveness, terminal: terminal)
    }

    /// A shell in which somebody types the name of the agent.
    convenience init(shell: [String], terminal: String) {
        self.init(shell, input: nil, liveness: nil, terminal: terminal)
    }

    private init(_ arguments: [String], input: String?, liveness: Liveness?, terminal: String?) {
        let (report, reportEnd) = Descriptor.pipe()
        let (output, outputEnd) = Descriptor.pipe()
        self.report = report
        self.output = output

        var actions = FileActions()
        if let terminal {
            for descriptor in 0...2 { actions.open(terminal, as: Int32(descriptor)) }
        } else {
            if let input { actions.open(input, as: 0) } else { actions.close(0) }
            actions.duplicate(outputEnd, as: 1)
        }
        actions.duplicate(reportEnd, as: 3)
        if let listener = liveness?.listener { actions.duplicate(listener, as: 4) }
        pid = actions.spawn(arguments, newSession: terminal != nil)
        let pid = pid
        status = Task {
            await blocking {
                var status: Int32 = 0
                while waitpid(pid, &status, 0) < 0, errno == EINTR {}
                return status
            }
        }
    }

    /// As a shell shows it.
    var exitCode: Int32 {
        get async {
            let status = await status.value
            return status & 0x7f == 0 ? status >> 8 & 0xff : 128 + status & 0x7f
        }
    }

    /// Reads the report up to a line that starts so, and returns the rest of that line.
    @discardableResult
    func waitForReport(_ start: String) async -> Substring {
        while true {
            let line = await report.readLine()
            if line.hasPrefix(start) { return line.dropFirst(start.count) }
            if line.isEmpty {
                Issue.record("the agent never said \"\(start)\"")
                return ""
            }
        }
    }

    /// The command's process group.
    func waitForStart() async -> pid_t {
        pid_t(await waitForReport("started ")) ?? -1
    }

    func signal(_ signal: Int32) {
        kill(pid, signal)
    }
}

private struct FileActions: ~Copyable {
    #if canImport(Darwin)
    private var actions: posix_spawn_file_actions_t?
    private var attributes: posix_spawnattr_t?
    #else
    private var actions = posix_spawn_file_actions_t()
    private var attributes = posix_spawnattr_t()
    #endif
    // Out of the way of the numbers that the child gets: dup2 would overwrite one that is still to be duplicated.
    private var sources: [Descriptor] = []

    init() {
        posix_spawn_file_actions_init(&actions)
        posix_spawnattr_init(&attributes)
    }

    deinit {
        var copies = (actions, attributes)
        posix_spawn_file_actions_destroy(&copies.0)
        posix_spawnattr_destroy(&copies.1)
    }

    mutating func open(_ path: String, as number: Int32) {
        posix_spawn_file_actions_addopen(&actions, number, path, O_RDWR, 0)
    }

    mutating func close(_ number: Int32) {
        posix_spawn_file_actions_addclose(&actions, number)
    }

    mutating func duplicate(_ descriptor: Descriptor, as number: Int32) {
        let source = Descriptor(fcntl(descriptor.number, F_DUPFD_CLOEXEC, 64))
        sources.append(source)
        posix_spawn_file_actions_adddup2(&actions, source.number, number)
    }

    mutating func spawn(_ arguments: [String], newSession: Bool) -> pid_t {
        // Never in the test's own group: an agent stops and signals its whole group.
        #if canImport(Darwin)
        let session = Int32(POSIX_SPAWN_SETSID)
        #else
        let session: Int32 = 0x80
        #endif
        let place = newSession ? session : Int32(POSIX_SPAWN_SETPGROUP)
        // Threads of the pool block most signals, and what they start would inherit that.
        posix_spawnattr_setflags(&attributes, Int16(place | Int32(POSIX_SPAWN_SETSIGMASK)))
        var mask = sigset_t()
        sigemptyset(&mask)
        posix_spawnattr_setsigmask(&attributes, &mask)
        posix_spawnattr_setpgroup(&attributes, 0)
        var argv = arguments.map { strdup($0) } + [nil]
        defer { argv.forEach { free($0) } }
        var pid: pid_t = 0
        let error = posix_spawnp(&pid, argv[0]!, &actions, &attributes, &argv, environ)
        #expect(error == 0, "posix_spawn: \(error)")
        return pid
    }
}
