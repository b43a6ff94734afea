import TestKit
import Testing

@testable import DistributedLocks

@Suite struct LockOwnerTests {
    /// All forms in which the bits could be shown.
    static func forms(of secret: LockOwner.Secret) -> [String] {
        let numbers = [secret.high, secret.middle, UInt64(secret.low)]
        return numbers.map { String($0) } + numbers.map { String($0, radix: 16) }
            + [secret.withUnsafeBytes { "\(Array($0))" }]
    }

    private static func reflection(of value: Any) -> String {
        let mirror = Mirror(reflecting: value)
        return mirror.children.map { "\($0.label ?? ""): \($0.value) \(Self.reflection(of: $0.value))" }.joined()
    }

    @Test func `no way to print a claim shows the secret`() throws {
        let claim = try LockClaim.test()
        let request = AcquireRequest(claim: claim, joinsQueue: true, deadline: nil)
        let renewal = LockRenewal(claim: claim, deadline: startInstant)
        let values: [Any] = [
            claim.owner.secret, claim.owner, claim, request, renewal, [claim], Optional(request) as Any,
        ]
        for value in values {
            var dumped = ""
            dump(value, to: &dumped)
            let texts = [
                "\(value)", String(describing: value), String(reflecting: value), dumped, Self.reflection(of: value),
            ]
            for text in texts {
                for form in Self.forms(of: claim.owner.secret) { #expect(!text.contains(form)) }
            }
        }
        #expect("\(request)".contains("label"))
    }

    @Test func `the secret is 160 bits of the generator, twenty bytes`() throws {
        var generator = SeededGenerator(seed: 1)
        let first = LockOwner.Secret(using: &generator)
        let second = LockOwner.Secret(using: &generator)
        #expect(first != second)
        let bytes = first.withUnsafeBytes { Array($0) }
        #expect(bytes.count == LockOwner.Secret.lengthInBytes)
        #expect(Array(bytes[..<8]) == withUnsafeBytes(of: first.high.bigEndian) { Array($0) })
        #expect(Array(bytes[8..<16]) == withUnsafeBytes(of: first.middle.bigEndian) { Array($0) })
        #expect(Array(bytes[16...]) == withUnsafeBytes(of: first.low.bigEndian) { Array($0) })
    }

    @Test func `metadata reads well`() {
        #expect("\(OwnerMetadata(host: "web-3", pid: 4711, label: "checkout"))" == "pid 4711 on web-3 (checkout)")
        #expect("\(OwnerMetadata(host: "web-3", pid: 4711))" == "pid 4711 on web-3")
        let current = OwnerMetadata.current()
        #expect(!current.host.isEmpty && current.pid > 0)
    }
}
