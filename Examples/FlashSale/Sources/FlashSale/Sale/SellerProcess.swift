import Foundation

/// The process of a seller, seen from the sale.
struct SellerProcess {
    let number: Int
    let pid: pid_t

    /// Starts a seller. It ends when this process does: its standard input is a pipe that only we keep open.
    init(_ number: Int, _ plan: Plan, lifeline: Lifeline) throws {
        let words = [
            lifeline.executable, "sell", "--mode", plan.mode.rawValue, "--seller", "\(number)", "--items",
            "\(plan.items)", "--buyers", "\(plan.buyers)", "--sellers", "\(plan.sellers)", "--lease",
            "\(plan.leaseInMilliseconds)",
        ]
        var environment = ProcessInfo.processInfo.environment
        // URLs may have passwords, which must not stand in the list of processes.
        environment["FLASH_SALE_BACKEND"] = plan.backend
        environment["FLASH_SALE_DATABASE"] = plan.database
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        // Threads of the pool block signals, and children would inherit that.
        var none = sigset_t()
        sigemptyset(&none)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, lifeline.readEnd, 0)
        let arguments = words.map { strdup($0) } + [nil]
        let variables = environment.map { strdup("\($0.key)=\($0.value)") } + [nil]
        defer { for string in arguments + variables { free(string) } }
        var pid: pid_t = 0
        let code = posix_spawn(&pid, lifeline.executable, &actions, &attributes, arguments, variables)
        guard code == 0 else {
            throw DatabaseFailure(description: "a seller cannot be started: \(String(cString: strerror(code)))")
        }
        self.number = number
        self.pid = pid
    }
}

/// The pipe by which sellers notice that the sale is over because its process died.
struct Lifeline {
    let executable: String
    let readEnd: Int32
    private let writeEnd: Int32

    init() throws {
        var ends: [Int32] = [0, 0]
        guard pipe(&ends) == 0 else { throw DatabaseFailure(description: "there is no pipe to be had") }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        (self.readEnd, self.writeEnd) = (ends[0], ends[1])
        self.executable = Bundle.main.executablePath ?? CommandLine.arguments[0]
    }

    /// Ends this process, a seller, when the sale's process has ended.
    static func endWithSale() {
        Thread.detachNewThread {
            var byte: UInt8 = 0
            while read(0, &byte, 1) > 0 || errno == EINTR {}
            _exit(1)
        }
    }
}
