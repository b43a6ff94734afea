import Foundation
import LockKernel

/// What the tests of this run may use.
package enum TestScope {
    /// Whether only those run that need neither servers nor root (`./scripts/test.sh --local`).
    package static let isLocal = ProcessInfo.processInfo.environment["DLOCK_TESTS"] == "local"

    /// Whether tests may do what only root may: make namespaces, mount disks.
    package static let mayUseRoot = geteuid() == 0 && !TestScope.isLocal

    /// Whether tests against a kind of server run: where there is one; where CI is set always, so that they fail without one.
    package static func isRequired(ifInstalled isInstalled: Bool) -> Bool {
        !Self.isLocal && (isInstalled || ProcessInfo.processInfo.environment["CI"] == "true")
    }
}
