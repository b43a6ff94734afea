/// The parts of a URL that names a backend.
///
/// Several hosts may stand in one URL, which is why general URL parsers cannot read it:
/// `scheme:[//[user[:password]@]host[:port][,host[:port]…]][/path][?key=value[&key=value…]]`. Percent-encoding is decoded
/// in every part.
public struct LockURL: Sendable, Hashable {
    /// One host of a URL.
    public struct Host: Sendable, Hashable {
        /// A name or an address; of an IPv6 address what stands between the brackets.
        public var name: String
        /// The port, if one was given.
        public var port: Int?

        /// Names a host.
        public init(name: String, port: Int? = nil) {
            self.name = name
            self.port = port
        }
    }

    /// The scheme, in lower case.
    public var scheme: String
    /// The user, if one was given.
    public var user: String?
    /// The password, if one was given. Never shown by `description`.
    public var password: String?
    /// The hosts; none if the URL has no authority, or an empty one.
    public var hosts: [Host]
    /// The path with its leading slash; empty if there is none.
    public var path: String
    /// The options after the question mark, in their order.
    public var query: [QueryItem]

    /// One option after the question mark.
    public struct QueryItem: Sendable, Hashable {
        /// What stands before the equals sign.
        public var name: String
        /// What stands behind it.
        public var value: String

        /// Names an option.
        public init(name: String, value: String) {
            self.name = name
            self.value = value
        }
    }

    /// Reads a URL.
    ///
    /// - Throws: `LockError` `invalidConfiguration` with what is wrong and what would be right. It never repeats a
    ///   password.
    public init(_ text: String) throws(LockError) {
        guard let colon = text.firstIndex(of: ":"), Self.isScheme(text[..<colon]) else {
            throw Self.invalid("'\(Self.redacted(text))' is no URL of a backend: it has no scheme such as embedded:")
        }
        self.path = ""
        self.scheme = text[..<colon].lowercased()
        var rest = text[text.index(after: colon)...]
        if let mark = rest.firstIndex(of: "#") {
            throw Self.invalid("the URL has a fragment ('\(rest[mark...])'), which means nothing here; write %23 for #")
        }
        self.query = []
        if let mark = rest.firstIndex(of: "?") {
            self.query = try Self.query(rest[rest.index(after: mark)...])
            rest = rest[..<mark]
        }
        self.user = nil
        self.password = nil
        self.hosts = []
        if rest.hasPrefix("//") {
            rest = rest.dropFirst(2)
            let end = rest.firstIndex(of: "/") ?? rest.endIndex
            try self.readAuthority(rest[..<end])
            rest = rest[end...]
        }
        self.path = try Self.decoded(rest)
    }

    private mutating func readAuthority(_ authority: Substring) throws(LockError) {
        var hosts = authority
        if let at = authority.lastIndex(of: "@") {
            let credentials = authority[..<at]
            hosts = authority[authority.index(after: at)...]
            if let colon = credentials.firstIndex(of: ":") {
                let user = try Self.decoded(credentials[..<colon])
                self.user = user.isEmpty ? nil : user
                self.password = try Self.decoded(credentials[credentials.index(after: colon)...])
            } else {
                self.user = try Self.decoded(credentials)
            }
            guard !hosts.isEmpty else { throw Self.invalid("the URL has a user but no host") }
        }
        guard !hosts.isEmpty else { return }
        for part in hosts.split(separator: ",", omittingEmptySubsequences: false) {
            self.hosts.append(try Self.host(part))
        }
    }

    private static func host(_ text: Substring) throws(LockError) -> Host {
        var name = text
        var port: Substring?
        if text.hasPrefix("[") {
            guard let bracket = text.firstIndex(of: "]") else {
                throw Self.invalid("the address '\(text)' has no closing bracket")
            }
            name = text[text.index(after: text.startIndex)..<bracket]
            let rest = text[text.index(after: bracket)...]
            guard rest.isEmpty || rest.hasPrefix(":") else {
                throw Self.invalid("'\(rest)' after the address [\(name)] is no port")
            }
            if !rest.isEmpty { port = rest.dropFirst() }
        } else if let colon = text.firstIndex(of: ":") {
            name = text[..<colon]
            port = text[text.index(after: colon)...]
            if port?.contains(":") == true {
                throw Self.invalid("an IPv6 address stands in brackets, as in [::1]:6379, not '\(text)'")
            }
        }
        guard !name.isEmpty else { throw Self.invalid("the URL has an empty host") }
        guard let port else { return Host(name: try Self.decoded(name)) }
        guard port.utf8.allSatisfy({ $0 >= 0x30 && $0 <= 0x39 }), let number = Int(port), (1...65_535).contains(number)
        else {
            throw Self.invalid("'\(port)' is no port: a port is a number from 1 to 65535")
        }
        return Host(name: try Self.decoded(name), port: number)
    }

    private static func query(_ text: Substring) throws(LockError) -> [QueryItem] {
        var items: [QueryItem] = []
        for part in text.split(separator: "&") {
            guard let equals = part.firstIndex(of: "=") else {
                throw Self.invalid("the option '\(part)' in the URL has no value: write it as name=value")
            }
            items.append(
                QueryItem(
                    name: try Self.decoded(part[..<equals]),
                    value: try Self.decoded(part[part.index(after: equals)...])
                )
            )
        }
        return items
    }

    private static func decoded(_ text: Substring) throws(LockError) -> String {
        guard text.utf8.contains(UInt8(ascii: "%")) else { return String(text) }
        var bytes: [UInt8] = []
        var rest = Array(text.utf8)[...]
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte)
                continue
            }
            guard rest.count >= 2,
                let value = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16)
            else { throw Self.invalid("a % in the URL must be followed by two hexadecimal digits") }
            bytes.append(value)
            rest = rest.dropFirst(2)
        }
        guard let decoded = String(validating: bytes, as: UTF8.self), !bytes.contains(0) else {
            throw Self.invalid("the URL's percent-encoding does not give UTF-8 text")
        }
        return decoded
    }

    private static func isScheme(_ text: Substring) -> Bool {
        guard let first = text.utf8.first, (first | 0x20) >= 0x61, (first | 0x20) <= 0x7A else { return false }
        return text.utf8.allSatisfy { byte in
            (byte | 0x20 >= 0x61 && byte | 0x20 <= 0x7A) || (byte >= 0x30 && byte <= 0x39) || byte == 0x2B
                || byte == 0x2D || byte == 0x2E
        }
    }

    /// A text without what stands before an @, which may be a password.
    private static func redacted(_ text: String) -> String {
        guard let at = text.lastIndex(of: "@") else { return text }
        return "…" + text[at...]
    }

    package static func invalid(_ message: String) -> LockError {
        LockError(.invalidConfiguration, message)
    }
}

extension LockURL: CustomStringConvertible, CustomReflectable {
    /// The URL without its password.
    public var description: String {
        var text = self.scheme + ":"
        if !self.hosts.isEmpty || self.path.hasPrefix("/") {
            text += "//"
            if let user = self.user { text += "\(user)@" }
            text += self.hosts.map { host in
                let name = host.name.contains(":") ? "[\(host.name)]" : host.name
                return name + (host.port.map { ":\($0)" } ?? "")
            }.joined(separator: ",")
        }
        text += self.path
        if !self.query.isEmpty {
            text += "?" + self.query.map { "\($0.name)=\($0.value)" }.joined(separator: "&")
        }
        return text
    }

    /// The URL without its password.
    public var customMirror: Mirror { Mirror(self, children: ["url": self.description]) }
}
