import Foundation
import TestKit
import Testing

/// dlock against five independent redis-servers.
@Suite(.enabled(if: RedisServer.isRequired), .timeLimit(.minutes(2)))
struct RedlockToolTests {
    @Test func `init, run, status and break work on a URL, with one instance killed in the middle`() async throws {
        try await RedlockServers.withServers { servers async throws in
            try await Shell.with { shell async throws in
                let pid = servers[0].pid
                let output = try await shell.run(
                    """
                    export DLOCK_BACKEND=\(servers.url)
                    $D init; echo $?
                    $D init; echo $?
                    $D run a -- sh -c 'echo token $DLOCK_FENCING_TOKEN $DLOCK_TOKEN_DOMAIN'
                    $D run a -- sh -c 'kill -9 \(pid); $D status a; DLOCK_HELD= $D run --no-wait a -- true; echo busy $?'
                    $D run a -- sh -c 'echo token $DLOCK_FENCING_TOKEN $DLOCK_TOKEN_DOMAIN'
                    $D status --json a | grep -c 127.0.0.1; $D break --yes a; echo not held $?
                    $D run --wait 2s --backend redlock://127.0.0.1:1,127.0.0.1:2,127.0.0.1:3 a -- true; echo down $?
                    $D run --backend redlock://127.0.0.1:1 a -- true; echo one $?
                    $D init --backend redlock://127.0.0.1:1,127.0.0.1:2; echo two $?
                    """
                )
                let lines = output.out.split(separator: "\n").map(String.init)
                #expect(output.out.hasPrefix("5 instances are open\n0\n64\n"), "\(output.out) \(output.error)")
                let tokens = lines.filter { $0.hasPrefix("token ") && $0.hasSuffix(" clock") }
                    .compactMap { Int64($0.split(separator: " ")[1]) }
                try #require(tokens.count == 2, "\(output.out) \(output.error)")
                #expect(tokens[0] < tokens[1])
                #expect(lines.contains { $0.contains("held by pid") && $0.hasPrefix("a:") })
                // Each instance has a line of its own, the dead one with its reason.
                for server in servers.servers {
                    #expect(lines.contains { $0.hasPrefix("  127.0.0.1:\(server.port): ") }, "\(output.out)")
                }
                #expect(lines.contains("busy 75"))
                #expect(lines.contains("not held 1"))
                #expect(lines.contains("down 69"))
                // Two may be left while one is replaced, and are not how it begins.
                #expect(lines.contains("one 64") && lines.contains("two 64"))
                #expect(output.error.contains("127.0.0.1:1: "))
            }
        }
    }

    @Test func `init --from adds and removes members one at a time, while a command holds a lock`() async throws {
        try await RedlockServers.withServers(4) { servers async throws in
            try await Shell.with { shell async throws in
                let hosts = servers.servers.map { "127.0.0.1:\($0.port)" }
                let output = try await shell.run(
                    """
                    options='?longest-lease=1s&max-clock-skew=500ms'
                    one="redlock://\(hosts[0]),\(hosts[1]),\(hosts[2])$options"
                    two="redlock://\(hosts.joined(separator: ","))$options"
                    three="redlock://\(hosts[1]),\(hosts[2]),\(hosts[3])$options"
                    $D init --backend "$one"
                    $D init --from "$one" --backend "$three"; echo swap $?
                    $D run --backend "$one" --lease 1s held -- sh -c 'touch held; while [ ! -e end ]; do sleep 0.05; done' &
                    holder=$!
                    while [ ! -e held ]; do sleep 0.05; done
                    $D run --backend "$two" --lease 1s a -- true; echo early $?
                    $D init --from "$one" --backend "$two"; echo added $?
                    until $D init --from "$two" --backend "$three"; do sleep 0.1; done 2> waited
                    $D run --backend "$one" --lease 1s a -- true; echo old $?
                    $D run --backend "$two" --lease 1s a -- true; echo new $?
                    $D run --backend "$three" --lease 1s --no-wait held -- true; echo busy $?
                    touch end; wait $holder; echo holder $?
                    $D init --from "$one" --backend "$two"; echo late $?
                    """
                )
                let lines = output.out.split(separator: "\n").map(String.init)
                #expect(
                    lines == [
                        "3 instances are open", "swap 64", "early 69", "4 instances, generation 2 of the policy",
                        "added 0",
                        "3 instances, generation 3 of the policy", "old 0", "new 0", "busy 75", "holder 0", "late 69",
                    ], "\(output.out) \(output.error)")
            }
        }
    }

    @Test func `a command is stopped when the lock's quorum is gone`() async throws {
        try await RedlockServers.withServers(3) { servers async throws in
            try await Shell.with { shell async throws in
                let pids = [servers[0].pid, servers[1].pid]
                let output = try await shell.run(
                    """
                    export DLOCK_BACKEND=\(servers.url)
                    $D init
                    $D run --lease 2s a -- sh -c 'kill -9 \(pids[0]) \(pids[1]); sleep 60'; echo lost $?
                    """
                )
                #expect(output.out.contains("lost 79"), "\(output.out) \(output.error)")
            }
        }
    }
}
