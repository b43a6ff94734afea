extension PolicyModel {
    /// Everything there is, in a few numbers.
    struct World: Hashable {
        /// Eight bits for each instance: its policy (3; 0: none), its fence (3), whose key it has (2; 0: nobody's). Then what all share.
        var shared: UInt64 = 0
        /// 32 bits each.
        var clients: UInt64 = 0
        /// Six bits for each run of each change: to whom it writes still.
        var runs: UInt64 = 0

        private func digits(_ word: UInt64, _ offset: UInt64, _ width: UInt64) -> UInt64 {
            word >> offset & (1 << width - 1)
        }
        private func with(_ word: UInt64, _ offset: UInt64, _ width: UInt64, _ value: UInt64) -> UInt64 {
            word & ~((1 << width - 1) << offset) | value << offset
        }

        func policy(_ instance: UInt64) -> UInt64 { self.digits(self.shared, instance * 8, 3) }
        func fence(_ instance: UInt64) -> UInt64 { self.digits(self.shared, instance * 8 + 3, 3) }
        func owner(_ instance: UInt64) -> UInt64 { self.digits(self.shared, instance * 8 + 6, 2) }
        mutating func setPolicy(_ instance: UInt64, _ value: UInt64) {
            self.shared = self.with(self.shared, instance * 8, 3, value)
        }
        mutating func setFence(_ instance: UInt64, _ value: UInt64) {
            self.shared = self.with(self.shared, instance * 8 + 3, 3, value)
        }
        mutating func setOwner(_ instance: UInt64, _ value: UInt64) {
            self.shared = self.with(self.shared, instance * 8 + 6, 2, value)
        }

        /// A bit for each token that was granted.
        var granted: UInt64 {
            get { self.digits(self.shared, 48, 5) }
            set { self.shared = self.with(self.shared, 48, 5, newValue) }
        }
        /// Where the tokens of the third generation begin.
        var floor: UInt64 {
            get { self.digits(self.shared, 53, 3) }
            set { self.shared = self.with(self.shared, 53, 3, newValue) }
        }
        /// Most have the second generation, and from here on a lease is waited for.
        var isWaiting: Bool {
            get { self.digits(self.shared, 56, 1) == 1 }
            set { self.shared = self.with(self.shared, 56, 1, newValue ? 1 : 0) }
        }
        /// A bit for each policy that has come to a quorum, where that is looked for.
        var had: UInt64 {
            get { self.digits(self.shared, 57, 7) }
            set { self.shared = self.with(self.shared, 57, 7, newValue) }
        }
        func remaining(_ run: UInt64) -> UInt64 { self.digits(self.runs, run * 6, 6) }
        mutating func setRemaining(_ run: UInt64, _ value: UInt64) {
            self.runs = self.with(self.runs, run * 6, 6, value)
        }

        enum Field: UInt64 {
            /// 0: idle, 1: in a round, 2: it holds.
            case phase = 0
            /// Of the round, or of what confirmed the hold last.
            case policy = 2
            case token = 5
            /// The instances that have granted, or have confirmed the hold last.
            case votes = 8
            /// The highest token that had been granted when the round began.
            case highest = 13
            case roundsLeft = 16
            /// Of the renewal that is under way.
            case renewing = 18
            case renewed = 21
            /// The round, or what confirmed the hold last, began before the wait; and so for the renewal that is under way.
            case isOld = 26
            case isRenewalOld = 27

            var width: UInt64 {
                switch self {
                case .isOld, .isRenewalOld: 1
                case .phase, .roundsLeft: 2
                case .policy, .token, .highest, .renewing: 3
                case .votes, .renewed: 5
                }
            }
        }

        subscript(client: UInt64, field: Field) -> UInt64 {
            get { self.digits(self.clients, client * 32 + field.rawValue, field.width) }
            set { self.clients = self.with(self.clients, client * 32 + field.rawValue, field.width, newValue) }
        }

        var highest: UInt64 { self.granted == 0 ? 0 : UInt64(63 - self.granted.leadingZeroBitCount) }

        /// The same with the clients in one order: nothing distinguishes them.
        var sorted: World {
            let (first, second) = (self.clients & 0xFFFF_FFFF, self.clients >> 32)
            guard first > second else { return self }
            var other = self
            other.clients = first << 32 | second
            for instance in UInt64(0)..<6 where self.owner(instance) > 0 {
                other.setOwner(instance, 3 - self.owner(instance))
            }
            return other
        }

        func hash(into hasher: inout Hasher) {
            hasher.combine(self.shared ^ self.clients &* 0x9E37_79B9_7F4A_7C15 ^ self.runs &* 0xC2B2_AE3D_27D4_EB4F)
        }
    }
}
