import Foundation
import TestKit
import Testing

/// dlock write, in a shell.
@Suite(.timeLimit(.minutes(2))) struct WriteTests {
    @Test func `under dlock run a file is replaced, and a stale holder's write is refused with 80`() async throws {
        try await Shell.with { shell async throws in
            let output = try await shell.run(
                """
                echo old > report; chmod 640 report
                $D run job -- sh -c 'echo $DLOCK_FENCING_TOKEN > stale; echo one | $D write report'; echo $?
                $D run job -- sh -c 'echo two | $D write report'; echo $?
                echo late | DLOCK_FENCING_TOKEN=$(cat stale) DLOCK_TOKEN_DOMAIN=clock $D write report; echo $?
                cat report; stat -c %a report; ls -A | grep -v '^[.]out\\|^[.]error\\|^dlock$'
                """)
            #expect(output.out == "0\n0\n80\ntwo\n640\n.report.fence\nreport\nstale\n", "\(output.error)")
            #expect(output.error.hasPrefix("dlock: 'report' is as it was: the fencing token "))
            #expect(output.error.split(separator: "\n").count == 1)
        }
    }

    @Test func `a holder that is stopped past its lease is refused when it goes on`() async throws {
        try await Shell.with { shell async throws in
            // dlock ends its command with the lease; setsid stands for a command that got away.
            let output = try await shell.run(
                """
                echo old > report
                await() { n=0; while [ ! -s $1 ] && [ $n -lt 1500 ]; do n=$((n + 1)); sleep 0.02; done; }
                cat > late.sh <<'END'
                echo ready > ready; n=0; while [ ! -s go ] && [ $n -lt 1500 ]; do n=$((n + 1)); sleep 0.02; done
                echo late | $D write report; echo $? > code
                END
                $D run --lease 1s job -- sh -c 'setsid -f sh late.sh; while [ ! -s ready ]; do sleep 0.02; done'
                $D run job -- sh -c 'echo new | $D write report'; echo $?
                echo go > go; await code; cat code report
                """)
            #expect(output.out == "0\n80\nnew\n", "\(output.error)")
        }
    }

    @Test(arguments: ["TERM", "HUP"])
    func `a writer that is ended while it reads leaves no file behind`(signal: String) async throws {
        try await Shell.with { shell async throws in
            let output = try await shell.run(
                """
                mkdir d; mkfifo d/in; echo old > d/report
                (exec $D write --token 5 d/report < d/in) & pid=$!
                exec 9> d/in; head -c 2000000 /dev/zero >&9
                kill -\(signal) $pid; wait $pid; echo $(($? > 128)); exec 9>&-
                rm d/in; ls -A d; cat d/report
                """)
            #expect(output.out == "1\nreport\nold\n", "\(output.error)")
        }
    }

    @Test(.enabled(if: TestScope.mayUseRoot, "only root mounts something over /proc"))
    func `where a file has to have a name, a writer that is ended removes it`() async throws {
        try await Shell.with { shell async throws in
            // A file without a name is given one by way of /proc, so a /proc that shows no descriptors is as good as an old
            // file system.
            let output = try await shell.run(
                """
                mkdir d none; mkfifo in; echo old > d/report
                unshare -m sh -c 'mount --bind none /proc/$$/fd; exec $D write --token 5 d/report' < in & pid=$!
                exec 9> in; head -c 200000 /dev/zero >&9; ls -A d | grep -c '^[.]dlock-'
                kill -TERM $pid; wait $pid; echo $?; exec 9>&-
                ls -A d; cat d/report
                """)
            #expect(output.out == "1\n143\nreport\nold\n", "\(output.error)")
        }
    }

    @Test func `another domain's token is refused until it is adopted, and one fence may guard several files`()
        async throws
    {
        try await Shell.with { shell async throws in
            let output = try await shell.run(
                """
                w() { echo "$1" | $D write --token $2 --domain $3 $4 $5 $6; echo $?; }
                w a 5 clock one; w b 1 zxid:1 one; w c 1 zxid:1 --adopt one; w d 9 clock one; cat one .one.fence
                w e 5 clock --fence f two; w g 4 clock --fence f three; ls two three 2>/dev/null
                """)
            #expect(output.out == "0\n80\n0\n80\nc\n1 zxid:1\n0\n80\ntwo\n", "\(output.error)")
            #expect(output.error.contains("--adopt"))
        }
    }

    @Test func `two hundred writers at once leave the contents of the highest token`() async throws {
        try await Shell.with { shell async throws in
            let output = try await shell.run(
                """
                for i in $(seq 1 200); do
                    echo $i | $D write --token $i report 2>/dev/null &
                    [ $((i % 8)) = 0 ] && wait
                done; wait; cat report .report.fence
                """)
            #expect(output.out == "200\n200 clock\n")
        }
    }

    @Test(arguments: [
        "write", "write f g", "write --token x f", "write --token 0 f", "write --token -5 f",
        "write --token 9223372036854775808 f", "write --token 1 --domain '' --nonsense f", "write f",
        "write --token 1 --domain \"$(printf 'a\\tb')\" f",
    ])
    func `wrong usage is 64, one line, and no file`(arguments: String) async throws {
        try await Shell.with { shell async throws in
            let output = try await shell.run("echo x | $D \(arguments); s=$?; ls; exit $s")
            #expect(output.status == 64)
            #expect(
                output.error.hasPrefix("dlock: ") && output.error.split(separator: "\n").count == 1, "\(output.error)")
            #expect(output.out.isEmpty)
        }
    }

    @Test func `what cannot be written is 73 and one line`() async throws {
        try await Shell.with { shell async throws in
            let output = try await shell.run(
                """
                mkdir folder; echo nonsense > .damaged.fence; ln -s nowhere link; export DLOCK_FENCING_TOKEN=1
                for f in folder missing/file damaged link /dev/null /proc/x; do echo x | $D write $f; echo $?; done; ls
                """)
            #expect(output.out == String(repeating: "73\n", count: 6) + "folder\nlink\n", "\(output.error)")
            #expect(output.error.split(separator: "\n").count == 6)
        }
    }

    @Test func `the help tells a newcomer what it is for`() async throws {
        try await Shell.with { shell async throws in
            let help = try await shell.run("$D write --help").out
            #expect(help.contains("dlock run report --") && help.contains("80 refused"))
            #expect(try await shell.run("$D --help").out.contains("write"))
        }
    }
}
