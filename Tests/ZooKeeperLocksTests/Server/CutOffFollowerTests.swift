import DistributedLocks
import Foundation
import TestKit
import Testing

/// A follower that is cut off from the quorum together with its client (Z3). It goes on answering pings and reads; a holder
/// that trusted them would believe in its lock after the next one was granted it.
///
/// Three servers and their clients in network namespaces of their own. `DLOCK_CUT_OFF_ROUNDS` says how often (1 by default,
/// for each of the two cases); scripts/cut-off.sh runs it twenty times.
@Suite(.enabled(if: ZooKeeperServer.isRequired && NetworkNamespaces.isPossible), .serialized)
struct CutOffFollowerTests {
    private static let rounds =
        ProcessInfo.processInfo.environment["DLOCK_CUT_OFF_ROUNDS"].flatMap { Int($0) } ?? 1

    /// Servers 1 to 3 on hosts 1 to 3, with ticks of one second.
    private final class Ensemble {
        let hosts: NetworkNamespaces
        let folder = temporaryFolder("cut-off")
        private var servers: [ChildProcess] = []

        init(_ hosts: NetworkNamespaces) throws {
            self.hosts = hosts
            for host in 1...hosts.count {
                let place = self.folder.appending(path: "\(host)")
                try FileManager.default.createDirectory(
                    at: place.appending(path: "data"), withIntermediateDirectories: true)
                try "\(host)".write(to: place.appending(path: "data/myid"), atomically: true, encoding: .utf8)
                let peers = (1...hosts.count).map { "server.\($0)=\(hosts.address($0)):2888:3888" }
                let lines =
                    [
                        "dataDir=\(place.path)/data", "clientPort=2181", "tickTime=1000", "initLimit=10",
                        "syncLimit=10",
                        "admin.enableServer=false", "4lw.commands.whitelist=*",
                    ] + peers
                let file = place.appending(path: "zoo.cfg")
                try lines.joined(separator: "\n").write(to: file, atomically: true, encoding: .utf8)
                let command = hosts.prefix(host) + ZooKeeperServer.command(configuration: file)
                self.servers.append(
                    try ChildProcess(
                        command[0], Array(command.dropFirst()), output: place.appending(path: "log").path))
            }
        }

        func end() {
            for server in self.servers { server.end() }
            try? FileManager.default.removeItem(at: self.folder)
        }

        /// `leader` or `follower`; nil while it does not serve.
        func role(_ host: Int) async -> String? {
            await self.figure("srvr", "Mode: ", host)
        }

        /// How many nodes there are that end with their sessions.
        func ephemeralCount(_ host: Int) async -> Int? {
            await self.figure("mntr", "zk_ephemerals_count\t", host).flatMap { Int($0) }
        }

        /// What stands behind some words in what a server says of itself.
        private func figure(_ command: String, _ words: String, _ host: Int) async -> String? {
            let ask = "exec 3<>/dev/tcp/127.0.0.1/2181 && printf \(command) >&3 && timeout 2 cat <&3"
            let command = self.hosts.prefix(host) + ["bash", "-c", ask]
            let said = try? await onThread { try NetworkNamespaces.run(command) }
            return said?.split(whereSeparator: \.isNewline).first { $0.hasPrefix(words) }.map {
                String($0.dropFirst(words.count))
            }
        }

        func agent(on host: Int, servers: [Int]) throws -> AgentProcess {
            let url = "zookeeper://" + servers.map { "\(self.hosts.address($0)):2181" }.joined(separator: ",")
            return try AgentProcess(
                url: url + "/z3?session-timeout=4s", name: "a", lease: .seconds(4), prefix: self.hosts.prefix(host))
        }

        /// A client that asks nothing but pings, and says when each was answered.
        func pinger(on host: Int) throws -> (process: ChildProcess, output: URL) {
            let output = self.folder.appending(path: "pings-\(UUID().uuidString.prefix(8))")
            let command = self.hosts.prefix(host) + ["python3", "-u", "-c", Self.pingScript]
            return (try ChildProcess(command[0], Array(command.dropFirst()), output: output.path), output)
        }

        private static let pingScript = """
            import socket, struct, time
            s = socket.create_connection(("127.0.0.1", 2181))
            body = struct.pack(">iqiqi16sb", 0, 0, 4000, 0, 16, b"", 0)
            s.sendall(struct.pack(">i", len(body)) + body)
            s.recv(1000)
            while True:
                s.sendall(struct.pack(">iii", 8, -2, 11))
                if not s.recv(1000):
                    break
                print(time.clock_gettime(time.CLOCK_BOOTTIME))
                time.sleep(0.1)
            """
    }

    private func withEnsemble(_ body: (Ensemble) async throws -> Void) async throws {
        try await NetworkNamespaces.withHosts(3) { hosts in
            let ensemble = try Ensemble(hosts)
            defer { ensemble.end() }
            try await self.settled(ensemble)
            try await body(ensemble)
        }
    }

    private func settled(_ ensemble: Ensemble) async throws {
        try await eventually(within: .seconds(60), "all three serve") {
            for host in 1...3 where await ensemble.role(host) == nil { return false }
            return true
        }
    }

    /// The clock of the agents' and this process's times.
    private static func bootTime() -> Double {
        var now = timespec()
        clock_gettime(CLOCK_BOOTTIME, &now)
        return Double(now.tv_sec) + Double(now.tv_nsec) / 1e9
    }

    @Test(.timeLimit(.minutes(20)), arguments: [false, true])
    func `the holder is lost before the next one is granted`(isStoppedBefore: Bool) async throws {
        try await self.withEnsemble { ensemble in
            var lastToken: FencingToken?
            for _ in 0..<Self.rounds {
                var followers: [Int] = []
                for host in 1...3 where await ensemble.role(host) == "follower" { followers.append(host) }
                let follower = try #require(followers.last)
                let others = (1...3).filter { $0 != follower }
                let holder = try ensemble.agent(on: follower, servers: [follower])
                defer { holder.end() }
                try await eventually("it holds") { holder.said("held") }
                let next = try ensemble.agent(on: others[0], servers: others)
                defer { next.end() }
                try await eventually("the next one asks") { next.said("asking") }
                // Both nodes of both: the one in the queue, and the one that shows that the session lives.
                try await eventually("it is in the queue") { await ensemble.ephemeralCount(others[0]) == 4 }
                let pinger = try ensemble.pinger(on: follower)
                defer { pinger.process.end() }
                try await eventually("pings are answered") {
                    try !String(contentsOf: pinger.output, encoding: .utf8).isEmpty
                }
                if isStoppedBefore {
                    try holder.stop()
                    try await Task.sleep(for: .seconds(2))
                    holder.signal(SIGCONT)
                }
                try ensemble.hosts.setLink(follower, isUp: false)
                try await eventually(within: .seconds(60), "the next one holds") { next.said("held") }
                let grantedAt = Self.bootTime()
                let granted = try #require(next.time(of: "held"))
                #expect(holder.said("lost"), "it was not told before the next one held")
                let lost = try #require(holder.time(of: "lost"))
                let lastValid = try #require(holder.time(of: "valid", last: true))
                #expect(lost < granted && lastValid < granted)
                // What a client that trusts pings would go by: they were answered to the end, and half a timeout counts
                // from each of them.
                let pings = try String(contentsOf: pinger.output, encoding: .utf8).split(separator: "\n").compactMap {
                    Double($0)
                }
                let lastPing = try #require(pings.last { $0 <= grantedAt })
                #expect(lastPing + 2 > grantedAt, "whoever trusts pings would be safe, too: this test shows nothing")

                let first = try #require(holder.tokenText.flatMap { FencingToken($0) })
                let second = try #require(next.tokenText.flatMap { FencingToken($0) })
                #expect(first < second && lastToken.map { $0 < first } != false)
                lastToken = second
                next.letGo()
                try await eventually("it ends well") { next.isOver }
                try ensemble.hosts.setLink(follower, isUp: true)
                holder.end()
                try await self.settled(ensemble)
            }
        }
    }
}
