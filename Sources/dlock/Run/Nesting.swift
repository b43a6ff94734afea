import DistributedLocks
import Foundation
import LockKernel

/// What `dlock run` tells the command about the locks it runs under, and reads back when it is run by such a command.
///
/// DLOCK_HELD lists them all, innermost last, one a line: backend, name and token, separated by tabs. None of these may
/// have a control character (a backend's path is checked for it).
struct Nesting {
    static let variable = "DLOCK_HELD"

    struct Held: Equatable {
        let backend: String
        let name: String
        let token: String
    }

    let outer: [Held]

    /// - Parameter value: That of the variable.
    init(_ value: String) {
        self.outer = value.split(separator: "\n").compactMap { line in
            let parts = line.split(separator: "\t", omittingEmptySubsequences: false).map(String.init)
            return parts.count == 3 ? Held(backend: parts[0], name: parts[1], token: parts[2]) : nil
        }
    }

    func outerGrant(of name: LockName, backend: String) -> Held? {
        self.outer.last { $0.backend == Self.escaped(backend) && $0.name == name.rawValue }
    }

    /// The variable's value for a command that runs under one more lock.
    func adding(name: LockName, backend: String, token: FencingToken) -> String {
        let all = self.outer + [Held(backend: Self.escaped(backend), name: name.rawValue, token: token.description)]
        return all.map { "\($0.backend)\t\($0.name)\t\($0.token)" }.joined(separator: "\n")
    }

    private static func escaped(_ backend: String) -> String {
        Percent.encoded(backend) { $0.value >= 0x20 && $0 != "%" }
    }
}
