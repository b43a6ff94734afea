import DistributedLocks
import Testing

@Suite struct LockNameTests {
    @Test(arguments: ["", "a\u{0}b", "tab\t", "bell\u{7}", "del\u{7F}", "c1\u{85}", String(repeating: "x", count: 513)])
    func `a bad name is refused with invalidName`(name: String) {
        let error = #expect(throws: LockError.self) { try LockName(name) }
        #expect(error?.code == .invalidName)
    }

    @Test(arguments: ["a", "inventory/42", "..", "ünï/çødé 🔒", String(repeating: "x", count: 512)])
    func `a good name is kept as it is`(name: String) throws {
        #expect(try LockName(name).rawValue == name)
    }

    @Test func `names are the same only if their bytes are`() throws {
        #expect(try LockName("e\u{301}") != LockName("\u{E9}"))
    }
}
