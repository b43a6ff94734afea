import DistributedLocks

/// Text in a page, whoever wrote it.
enum HTMLText {
    /// Text as it stands between tags and in quoted attributes.
    ///
    /// Host names, URLs and what servers say come from outside. Characters that nobody sees, and those that turn the text
    /// around them, stand as their numbers: `\u{202E}`.
    static func escaped(_ text: String) -> String {
        var result = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "&": result += "&amp;"
            case "<": result += "&lt;"
            case ">": result += "&gt;"
            case "\"": result += "&quot;"
            case "'": result += "&#39;"
            case _ where Self.isUnseen(scalar): result += "\\u{\(String(scalar.value, radix: 16, uppercase: true))}"
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result
    }

    private static func isUnseen(_ scalar: Unicode.Scalar) -> Bool {
        scalar.mayControl || [.format, .privateUse].contains(scalar.properties.generalCategory)
    }

    /// An element. Attribute values are escaped, the content is not: it is made of elements and escaped text.
    static func element(
        _ name: String,
        _ attributes: KeyValuePairs<String, String> = [:],
        _ content: String = ""
    ) -> String {
        let list = attributes.map { " \($0.key)=\"\(Self.escaped($0.value))\"" }.joined()
        return "<\(name)\(list)>\(content)</\(name)>"
    }

    /// An element with text alone.
    static func element(
        _ name: String,
        _ attributes: KeyValuePairs<String, String> = [:],
        text: String
    ) -> String {
        Self.element(name, attributes, Self.escaped(text))
    }

    /// An element with sentences: a number and its unit stay on one line.
    static func element(
        _ name: String,
        _ attributes: KeyValuePairs<String, String> = [:],
        prose: String
    ) -> String {
        Self.element(name, attributes, text: Self.withoutBreaks(prose))
    }

    /// The text with a no-break space between each number and its unit.
    static func withoutBreaks(_ text: String) -> String {
        var words: [String] = []
        for word in text.split(separator: " ", omittingEmptySubsequences: false) {
            let bare = String(word.prefix { !".,;:)".contains($0) })
            if Self.units.contains(bare), let number = words.last, number.last?.isNumber == true {
                words[words.count - 1] = "\(number)\u{A0}\(word)"
            } else {
                words.append(String(word))
            }
        }
        return words.joined(separator: " ")
    }

    private static let units: Set<String> = ["µs", "ms", "s", "%", "KiB", "×", "h"]
}
