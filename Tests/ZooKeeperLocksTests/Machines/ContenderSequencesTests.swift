import TestKit
import Testing

@testable import ZooKeeperLocks

@Suite struct ContenderSequencesTests {
    private static func node(_ digits: String, _ uuid: Character) -> ContenderNode {
        ContenderNode(name: "c-\(String(repeating: uuid, count: 32))-\(digits)")
    }

    private let mine = Self.node("0000000005", "a")
    private let before = Self.node("0000000004", "b")
    private let usedUp = Self.node("2147483647", "a")
    private let other = Self.node("2147483647", "b")

    /// Whatever comes in whatever order, it never traps, grants only while its node is there, and once it was taken back
    /// it ends when it is answered.
    @Test(arguments: 0..<200)
    func `events in any order never lead astray`(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        for _ in 0..<200 {
            var machine = ContenderStateMachine(
                joinsQueue: Bool.random(using: &generator), looksFirst: Bool.random(using: &generator))
            var isWithdrawn = false
            var isOut = false
            for _ in 0..<40 {
                let action: ContenderStateMachine.Action
                switch Int.random(in: 0..<25, using: &generator) {
                case 18: action = machine.created(self.usedUp, czxid: 50, zxid: 50)
                case 19: action = machine.looked(nil, isUsedUp: false)
                case 20: action = machine.looked([], isUsedUp: true)
                case 21: action = machine.looked([self.before, self.other], isUsedUp: true)
                case 22: action = machine.folderDeleted(isGone: Bool.random(using: &generator))
                case 23: action = machine.folderFired()
                case 24: action = machine.backstopFired()
                case 17: action = machine.identified(Bool.random(using: &generator) ? 50 : nil, isValid: true)
                case 0 where !isOut: action = machine.attached()
                case 1:
                    action = machine.expired()
                    isOut = false
                case 2:
                    action = machine.created(self.mine, czxid: Bool.random(using: &generator) ? 50 : nil, zxid: 50)
                case 3: action = machine.createFailed(nil)
                case 4: action = machine.createFailed(.noAuth)
                case 5: action = machine.listed([self.mine], pzxid: 50, isValid: Bool.random(using: &generator))
                case 6: action = machine.listed([self.before, self.mine], pzxid: 50, isValid: true)
                case 7: action = machine.listed([], pzxid: 50, isValid: true)
                case 8: action = machine.watchSet(on: self.before, isThere: Bool.random(using: &generator))
                case 9: action = machine.predecessorFired()
                case 10: action = machine.ownFired(isDeleted: Bool.random(using: &generator))
                case 11: action = machine.ownRead(nil, isThere: Bool.random(using: &generator))
                case 12:
                    isWithdrawn = true
                    action = machine.withdrawn()
                case 13:
                    action = machine.deleted(
                        [.done, .noNode, .unsure, .notSent].randomElement(using: &generator) ?? .done)
                case 14: action = machine.sought(Bool.random(using: &generator) ? self.mine : nil)
                case 15: action = machine.inspected(self.mine, czxid: Bool.random(using: &generator) ? 50 : nil)
                default: action = machine.validityReturned()
                }
                if case .creating = machine.state { isOut = true } else { isOut = false }
                if case .grant = action {
                    #expect(!isWithdrawn)
                    #expect(machine.node == self.mine)
                }
                if case .left = action { #expect(machine.isOver) }
                if machine.isOver { break }
            }
        }
    }
}
