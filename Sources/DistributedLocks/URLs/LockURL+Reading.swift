import LockKernel

extension LockURL {
    /// Reads a URL.
    ///
    /// - Throws: `LockError` `invalidConfiguration` with what is wrong and what would be right. It repeats nothing that may be a
    ///   password, or the rest of one with characters that should have been percent-encoded.
    public init(_ text: String) throws(LockError) {
        self = try Reader(text).url()
    }

    /// Takes a URL apart, by bytes: a character may be more than the delimiter that it begins with.
    private struct Reader {
        private typealias Bytes = ArraySlice<UInt8>

        private let text: String
        private let bytes: [UInt8]
        /// A user, and perhaps a password, ends with one. Where there is none, nothing can be a part of a password.
        private let hasAt: Bool

        init(_ text: String) {
            self.text = text
            self.bytes = Array(text.utf8)
            self.hasAt = self.bytes.contains(UInt8(ascii: "@"))
        }

        func url() throws(LockError) -> LockURL {
            guard let colon = self.bytes.firstIndex(of: UInt8(ascii: ":")), Self.isScheme(self.bytes[..<colon]) else {
                throw self.unreadable(
                    "\(self.hasAt ? "this" : "'\(self.text)'") is no URL of a backend: it has no scheme such as embedded:"
                )
            }
            var url = LockURL(
                scheme: String(decoding: self.bytes[..<colon], as: UTF8.self).lowercased(), hosts: [], path: "",
                query: [])
            var rest = self.bytes[(colon + 1)...]
            guard !rest.contains(UInt8(ascii: "#")) else {
                throw self.unreadable("the URL has a #, behind which nothing has a meaning: write %23 for it")
            }
            var query: Bytes?
            if let mark = rest.firstIndex(of: UInt8(ascii: "?")) {
                query = rest[(mark + 1)...]
                rest = rest[..<mark]
            }
            if rest.starts(with: "//".utf8) {
                rest = rest.dropFirst(2)
                let end = rest.firstIndex(of: UInt8(ascii: "/")) ?? rest.endIndex
                try self.readAuthority(rest[..<end], into: &url)
                rest = rest[end...]
            }
            // Behind hosts it is most likely that of a password with a slash.
            guard url.hosts.isEmpty || !rest.contains(UInt8(ascii: "@")) else {
                throw self.unreadable("the URL has an @ behind its host: write %40 for it")
            }
            url.path = try self.decoded(rest)
            if let query { url.query = try self.query(query, hasHosts: !url.hosts.isEmpty) }
            return url
        }

        // MARK: Parts

        private func readAuthority(_ authority: Bytes, into url: inout LockURL) throws(LockError) {
            var hosts = authority
            if let at = authority.lastIndex(of: UInt8(ascii: "@")) {
                let credentials = authority[..<at]
                hosts = authority[(at + 1)...]
                if let colon = credentials.firstIndex(of: UInt8(ascii: ":")) {
                    let user = try self.decoded(credentials[..<colon])
                    url.user = user.isEmpty ? nil : user
                    url.password = try self.decoded(credentials[(colon + 1)...])
                } else {
                    url.user = try self.decoded(credentials)
                }
                guard !hosts.isEmpty else { throw self.unreadable("the URL has a user but no host") }
            }
            guard !hosts.isEmpty else { return }
            for part in hosts.split(separator: UInt8(ascii: ","), omittingEmptySubsequences: false) {
                url.hosts.append(try self.host(part))
            }
        }

        private func host(_ text: Bytes) throws(LockError) -> Host {
            var name = text
            var port: Bytes?
            if text.first == UInt8(ascii: "[") {
                guard let bracket = text.firstIndex(of: UInt8(ascii: "]")) else {
                    throw self.unreadable("an address in the URL has no closing bracket")
                }
                name = text[(text.startIndex + 1)..<bracket]
                let rest = text[(bracket + 1)...]
                guard rest.isEmpty || rest.first == UInt8(ascii: ":") else {
                    throw self.unreadable("what stands behind an address in brackets in the URL is no port")
                }
                if !rest.isEmpty { port = rest.dropFirst() }
            } else if let colon = text.firstIndex(of: UInt8(ascii: ":")) {
                name = text[..<colon]
                port = text[(colon + 1)...]
                if port?.contains(UInt8(ascii: ":")) == true {
                    throw self.unreadable(
                        "a host in the URL has two colons: an IPv6 address stands in brackets, as in [::1]:6379")
                }
            }
            guard !name.isEmpty else { throw self.unreadable("the URL has an empty host") }
            guard let port else { return Host(name: try self.decoded(name)) }
            guard let number = LockURL.number(String(decoding: port, as: UTF8.self), 1...65_535) else {
                throw self.unreadable("the URL has a port that is no number from 1 to 65535")
            }
            return Host(name: try self.decoded(name), port: number)
        }

        private func query(_ text: Bytes, hasHosts: Bool) throws(LockError) -> [QueryItem] {
            var items: [QueryItem] = []
            for part in text.split(separator: UInt8(ascii: "&")) {
                guard let equals = part.firstIndex(of: UInt8(ascii: "=")) else {
                    let option =
                        self.hasAt || !Self.isOptionName(part)
                        ? "an option in the URL" : "the option '\(String(decoding: part, as: UTF8.self))'"
                    throw self.unreadable("\(option) has no value: write it as name=value")
                }
                let name = part[..<equals]
                let value = part[(equals + 1)...]
                // A path or a prefix may have one. What does not even look like an option is the rest of a password.
                if hasHosts, name.contains(UInt8(ascii: "@")) || value.contains(UInt8(ascii: "@")) {
                    guard Self.isOptionName(name), !name.contains(UInt8(ascii: "@")) else {
                        throw self.unreadable("the URL has an @ behind its host: write %40 for it")
                    }
                }
                items.append(QueryItem(name: try self.decoded(name), value: try self.decoded(value)))
            }
            return items
        }

        // MARK: Bytes

        private func decoded(_ text: Bytes) throws(LockError) -> String {
            guard let bytes = Percent.decoded(text) else {
                throw self.unreadable("a % in the URL must be followed by two hexadecimal digits: write %25 for it")
            }
            guard let decoded = String(validating: bytes, as: UTF8.self), !bytes.contains(0) else {
                throw self.unreadable("the URL's percent-encoding does not give UTF-8 text")
            }
            return decoded
        }

        private static func isScheme(_ text: Bytes) -> Bool {
            guard let first = text.first, Self.isLetter(first) else { return false }
            return text.allSatisfy { byte in
                Self.isLetter(byte) || Self.isDigit(byte) || byte == UInt8(ascii: "+") || byte == UInt8(ascii: "-")
                    || byte == UInt8(ascii: ".")
            }
        }

        private static func isOptionName(_ text: Bytes) -> Bool {
            !text.isEmpty && text.allSatisfy { Self.isLetter($0) || Self.isDigit($0) || $0 == UInt8(ascii: "-") }
        }

        private static func isLetter(_ byte: UInt8) -> Bool { byte | 0x20 >= 0x61 && byte | 0x20 <= 0x7A }
        private static func isDigit(_ byte: UInt8) -> Bool { byte >= 0x30 && byte <= 0x39 }

        private func unreadable(_ reason: String) -> LockError {
            LockURL.invalid(self.hasAt ? "\(reason) (\(LockURL.passwordAdvice))" : reason)
        }
    }
}
