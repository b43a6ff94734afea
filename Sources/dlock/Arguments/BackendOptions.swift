import ArgumentParser
import DistributedLocks
import Foundation
import LockURLs

struct BackendOptions: ParsableArguments {
    @Option(
        name: .long,
        help: ArgumentHelp(
            "Where the locks are kept, as a URL.",
            discussion: """
                embedded: is a file of your own on this host; embedded:///path/locks.db a file that several users may share; \
                redis://host, rediss://host (TLS) and redis+unix:///path.sock are a Redis master; \
                redis+sentinel://s1,s2,s3/mymaster (rediss+sentinel: with TLS) is a master that Sentinels name; \
                redlock://r1,r2,r3,r4,r5 (redlocks: with TLS) are independent masters, most of which must agree; \
                zookeeper://z1,z2,z3/chroot (zookeepers: with TLS) is a ZooKeeper ensemble. \
                Without this option DLOCK_BACKEND from the environment counts, then embedded:.
                """,
            valueName: "url"
        )
    )
    var backend: String?

    /// The URL that counts.
    var url: LockURL {
        get throws {
            // One variable by itself: a table of all of them takes 0.3 ms to make.
            let variable = self.backend == nil ? try EnvironmentText.text("DLOCK_BACKEND") : nil
            guard variable?.isEmpty != true else {
                throw Failure(
                    status: ExitStatus.usage,
                    message:
                        "DLOCK_BACKEND is empty: give it a URL, or unset it to keep the locks in your own file on this host"
                )
            }
            do {
                return try LockURL(self.backend ?? variable ?? "embedded:")
            } catch {
                throw Failure(error)
            }
        }
    }

    func makeBackend() throws -> any LockBackend { try Self.backend(at: self.url) }

    static func backend(at url: LockURL) throws -> any LockBackend {
        do {
            return try LockBackends.backend(url: url)
        } catch {
            throw Failure(error)
        }
    }
}

extension Failure {
    /// What an error of the library means for the shell.
    init(_ error: LockError, busyStatus: Int32 = ExitStatus.busy) {
        let nodes = error.nodes.isEmpty ? "" : " [" + error.nodes.map(\.description).joined(separator: "; ") + "]"
        self.init(status: Self.status(of: error.code, busyStatus: busyStatus), message: error.message + nodes)
    }

    private static func status(of code: LockError.Code, busyStatus: Int32) -> Int32 {
        switch code {
        case .busy, .timedOut: busyStatus
        case .lost: ExitStatus.lost
        case .invalidName, .invalidConfiguration, .wouldDeadlock: ExitStatus.usage
        default: ExitStatus.unavailable
        }
    }
}
