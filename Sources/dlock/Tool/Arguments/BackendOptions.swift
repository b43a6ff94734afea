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
                redis://host, rediss://host (TLS) and redis+unix:///path.sock are a Redis master. \
                Without this option DLOCK_BACKEND from the environment counts, then embedded:.
                """,
            valueName: "url"
        )
    )
    var backend: String?

    /// The URL that counts.
    var url: LockURL {
        get throws {
            let text =
                self.backend ?? ProcessInfo.processInfo.environment["DLOCK_BACKEND"].flatMap { $0.isEmpty ? nil : $0 }
            do {
                return try LockURL(text ?? "embedded:")
            } catch {
                throw Failure(error)
            }
        }
    }

    func makeBackend() throws -> any LockBackend {
        let url = try self.url
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
