extension String {
    /// The text for a terminal or a log: what would control one stands there as an escape, such as `\e` or `\u{202E}`.
    ///
    /// Labels, host names and what servers answer come from others, and may hold escape sequences, line feeds, or marks that
    /// turn the direction of what follows. Control characters, format characters (but the two joiners that scripts and
    /// emoji need), line and paragraph separators are replaced; all else stays.
    package var harmless: String {
        guard self.unicodeScalars.contains(where: \.mayControl) else { return self }
        var text = ""
        for scalar in self.unicodeScalars {
            switch scalar {
            case _ where !scalar.mayControl: text.unicodeScalars.append(scalar)
            case "\n": text += "\\n"
            case "\r": text += "\\r"
            case "\t": text += "\\t"
            case "\u{1B}": text += "\\e"
            default: text += "\\u{\(String(scalar.value, radix: 16, uppercase: true))}"
            }
        }
        return text
    }
}

extension Unicode.Scalar {
    /// Whether it is no part of a text but does something to it.
    package var mayControl: Bool {
        // Most texts have nothing else.
        if self.value >= 0x20 && self.value < 0x7F { return false }
        switch self.properties.generalCategory {
        case .control, .lineSeparator, .paragraphSeparator, .surrogate: return true
        case .format: return self != "\u{200C}" && self != "\u{200D}"
        default: return false
        }
    }
}
