extension String {
    /// How many columns of a terminal it takes. East Asian characters and emoji take two.
    var columns: Int { self.reduce(0) { $0 + $1.columns } }

    /// The text in at most so many columns. What does not fit is left out at the end, where `…` stands then.
    func fitted(into width: Int) -> String {
        guard self.columns > width else { return self }
        guard width > 0 else { return "" }
        var (text, used) = ("", 0)
        for character in self {
            used += character.columns
            if used > width - 1 { break }
            text.append(character)
        }
        return text + "…"
    }
}

extension Character {
    fileprivate var columns: Int {
        guard let scalar = self.unicodeScalars.first, scalar.value >= 0x1100 else { return 1 }
        let isWide =
            switch scalar.value {
            case 0x1100...0x115F, 0x2E80...0x303E, 0x3041...0xA4CF, 0xAC00...0xD7A3, 0xF900...0xFAFF, 0xFE30...0xFE6F,
                0xFF00...0xFF60, 0xFFE0...0xFFE6, 0x1F300...0x1F64F, 0x1F900...0x1F9FF, 0x20000...0x3FFFD:
                true
            default: scalar.properties.isEmojiPresentation
            }
        return isWide ? 2 : 1
    }
}
