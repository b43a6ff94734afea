import DistributedLocks
import Fencing
import Foundation
import Testing

@Suite struct FencingHeadersTests {
    private static func read(_ fields: [(name: String, value: String)]) throws -> FencingHeaders? {
        try FencingHeaders { name in fields.filter { $0.name == name }.map(\.value) }
    }

    @Test(arguments: ["inventory/42", "a b", "ü/€", "100%", "a,b;c=\"d\"", String(repeating: "x", count: 512)])
    func `what a client sends is what the server reads`(resource: String) throws {
        for domain in ["clock", "zxid:a b ü"] {
            let headers = FencingHeaders(resource: name(resource), stamp: stamp(.max, domain))
            #expect(headers.fields[0] == ("Fencing-Token", "9223372036854775807"))
            #expect(headers.fields.allSatisfy { $0.value.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F } })
            #expect(try Self.read(headers.fields) == headers)
        }
    }

    @Test func `common names are readable as they are, and a domain that is not told is clock`() throws {
        let headers = FencingHeaders(resource: name("inventory/42"), stamp: stamp(7))
        #expect(
            headers.fields.map { "\($0.name): \($0.value)" } == [
                "Fencing-Token: 7", "Fencing-Resource: inventory/42", "Fencing-Domain: clock",
            ])
        #expect(try Self.read([("Fencing-Token", "7")]) == FencingHeaders(resource: nil, stamp: stamp(7)))
    }

    @Test func `no token is no error, unless a resource is named`() throws {
        #expect(try Self.read([]) == nil)
        #expect(throws: FencingHeaders.Malformed.self) { try Self.read([("Fencing-Resource", "a")]) }
    }

    @Test(arguments: [
        [("Fencing-Token", "")], [("Fencing-Token", "0")], [("Fencing-Token", "-1")], [("Fencing-Token", "+1")],
        [("Fencing-Token", "1.5")], [("Fencing-Token", "9223372036854775808")], [("Fencing-Token", "1, 2")],
        [("Fencing-Token", " 1")], [("Fencing-Token", "1"), ("Fencing-Token", "1")],
        [("Fencing-Token", "1"), ("Fencing-Resource", "")], [("Fencing-Token", "1"), ("Fencing-Resource", "%")],
        [("Fencing-Token", "1"), ("Fencing-Resource", "%4")], [("Fencing-Token", "1"), ("Fencing-Resource", "%zz")],
        [("Fencing-Token", "1"), ("Fencing-Resource", "%+1")], [("Fencing-Token", "1"), ("Fencing-Resource", "%FF")],
        [("Fencing-Token", "1"), ("Fencing-Resource", "a%0Ab")], [("Fencing-Token", "1"), ("Fencing-Resource", "a b")],
        [("Fencing-Token", "1"), ("Fencing-Resource", "ü")], [("Fencing-Token", "1"), ("Fencing-Domain", "")],
        [("Fencing-Token", "1"), ("Fencing-Resource", "a"), ("Fencing-Resource", "b")],
        [("Fencing-Token", "1"), ("Fencing-Domain", String(repeating: "d", count: 129))],
        [("Fencing-Token", "1"), ("Fencing-Domain", "a%0Ab")], [("Fencing-Token", "1"), ("Fencing-Domain", "a%7F")],
    ])
    func `what makes no sense is refused`(fields: [(String, String)]) throws {
        #expect(throws: FencingHeaders.Malformed.self) { try Self.read(fields.map { (name: $0.0, value: $0.1) }) }
    }

    @Test func `the problem is JSON that says what was presented and what was seen`() throws {
        let refusal = FenceRefusal(
            resource: name("a\"b\\c ü"), presented: stamp(8), highest: stamp(9_007_199_254_740_993), reason: .stale)
        let problem = FencingProblem.refused(refusal)
        let json = try JSONSerialization.jsonObject(with: Data(problem.json.utf8)) as? [String: any Sendable]
        #expect(json?["status"] as? Int == 409)
        #expect(json?["title"] as? String == "Conflict")
        #expect(json?["reason"] as? String == "stale")
        #expect(json?["resource"] as? String == "a\"b\\c ü")
        #expect(json?["token"] as? String == "8")
        #expect(json?["highestToken"] as? String == "9007199254740993")
        #expect(json?["domain"] as? String == "clock")
        for problem in [FencingProblem.tokenRequired, .resourceRequired, .resourceInvalid] {
            #expect(throws: Never.self) { try JSONSerialization.jsonObject(with: Data(problem.json.utf8)) }
        }
    }
}
