import Testing

@testable import ZooKeeperLocks

@Suite struct SessionSetUpTests {
    private let name = Array("0123456789abcdef0123456789abcdef".utf8)

    private func refusal(_ code: ZooKeeperCode) -> SessionSetUpMachine.ServerRefusal {
        SessionSetUpMachine.ServerRefusal(code: code, reason: "\(code)")
    }

    @Test func `a session of an ensemble that is known needs its own node only`() {
        var setUp = SessionSetUpMachine()
        #expect(setUp.attached(isNew: true) == .readEnsemble)
        #expect(setUp.ensembleRead(self.name, refusal: nil) == .makeSessionNode)
        #expect(!setUp.isDone)
        #expect(setUp.sessionNodeMade(refusal: nil) == .open)
        #expect(setUp.isDone)
        #expect(setUp.ensemble == String(decoding: self.name, as: UTF8.self))
        // Attached to another server nothing has to be done; another session has all to do.
        #expect(setUp.attached(isNew: false) == .open)
        #expect(setUp.attached(isNew: true) == .readEnsemble)
    }

    @Test func `an ensemble that has no name is given one, and what counts is what stands there`() {
        var setUp = SessionSetUpMachine()
        _ = setUp.attached(isNew: true)
        #expect(setUp.ensembleRead([], refusal: self.refusal(.noNode)) == .makeChroot)
        #expect(setUp.parentsMade(refusal: nil) == .makeEnsemble)
        #expect(setUp.ensembleMade(refusal: self.refusal(.nodeExists)) == .readEnsemble)
        #expect(setUp.ensembleRead(self.name, refusal: nil) == .makeSessionNode)
        #expect(setUp.sessionNodeMade(refusal: self.refusal(.noNode)) == .makeSessionParents)
        #expect(setUp.parentsMade(refusal: nil) == .makeSessionNode)
        #expect(setUp.sessionNodeMade(refusal: self.refusal(.nodeExists)) == .open)
    }

    @Test func `a name that vanishes again and again is not made for ever`() {
        var setUp = SessionSetUpMachine()
        _ = setUp.attached(isNew: true)
        _ = setUp.ensembleRead([], refusal: self.refusal(.noNode))
        _ = setUp.parentsMade(refusal: nil)
        #expect(setUp.ensembleMade(refusal: nil) == .readEnsemble)
        #expect(setUp.ensembleRead([], refusal: self.refusal(.noNode)) == .refuse(.server(self.refusal(.noNode))))
    }

    @Test func `what is no name of ours is refused`() {
        for bytes in [[], Array("0123456789ABCDEF0123456789ABCDEF".utf8), Array(self.name.dropLast())] {
            var setUp = SessionSetUpMachine()
            _ = setUp.attached(isNew: true)
            #expect(setUp.ensembleRead(bytes, refusal: nil) == .refuse(.strangeEnsemble))
            #expect(setUp.ensemble == nil)
        }
    }

    @Test func `each step can be refused, and is begun anew when the session is attached again`() {
        let no = self.refusal(.noAuth)
        var setUp = SessionSetUpMachine()
        _ = setUp.attached(isNew: true)
        #expect(setUp.ensembleRead([], refusal: no) == .refuse(.server(no)))
        _ = setUp.attached(isNew: false)
        _ = setUp.ensembleRead([], refusal: self.refusal(.noNode))
        #expect(setUp.parentsMade(refusal: no) == .refuse(.server(no)))
        _ = setUp.attached(isNew: false)
        _ = setUp.ensembleRead([], refusal: self.refusal(.noNode))
        _ = setUp.parentsMade(refusal: nil)
        #expect(setUp.ensembleMade(refusal: no) == .refuse(.server(no)))
        _ = setUp.attached(isNew: false)
        _ = setUp.ensembleRead(self.name, refusal: nil)
        #expect(setUp.sessionNodeMade(refusal: no) == .refuse(.server(no)))
        _ = setUp.attached(isNew: false)
        _ = setUp.ensembleRead(self.name, refusal: nil)
        _ = setUp.sessionNodeMade(refusal: self.refusal(.noNode))
        #expect(setUp.parentsMade(refusal: no) == .refuse(.server(no)))
        #expect(setUp.attached(isNew: false) == .readEnsemble)
    }

    @Test func `an answer to a step that was begun anew does nothing`() {
        var setUp = SessionSetUpMachine()
        _ = setUp.attached(isNew: true)
        #expect(setUp.sessionNodeMade(refusal: nil) == .none)
        #expect(setUp.ensembleMade(refusal: nil) == .none)
        #expect(setUp.parentsMade(refusal: nil) == .none)
        _ = setUp.ensembleRead(self.name, refusal: nil)
        #expect(setUp.ensembleRead(self.name, refusal: nil) == .none)
    }
}
