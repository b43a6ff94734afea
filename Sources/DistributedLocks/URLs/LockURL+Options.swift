/// What the values of options mean that several backends have.
extension LockURL {
    /// A number in decimal digits, without a sign.
    package static func number(_ text: String, _ range: ClosedRange<Int>) -> Int? {
        guard !text.isEmpty, text.utf8.count <= 18, text.utf8.allSatisfy({ $0 >= 0x30 && $0 <= 0x39 }),
            let number = Int(text), range.contains(number)
        else { return nil }
        return number
    }

    package static func maximumWaiters(_ text: String) throws(LockError) -> Int {
        guard let number = Self.number(text, 1...1_000_000) else {
            throw Self.invalid("max-waiters is a number from 1 to 1000000, in decimal digits")
        }
        return number
    }

    package func database(_ text: String) throws(LockError) -> Int {
        guard let number = Self.number(text, 0...1_000_000) else {
            throw self.unusable("a database is a number from 0, in decimal digits")
        }
        return number
    }

    /// A number with `ms` or `s` behind it.
    package static func duration(_ text: String) -> Duration? {
        for (unit, scale) in [("ms", 1), ("s", 1_000)] where text.hasSuffix(unit) {
            return Self.number(String(text.dropLast(unit.count)), 0...999_999_999).map { .milliseconds($0 * scale) }
        }
        return nil
    }
}

/// The options that the URLs of all servers have: those of one Redis master, of a Redlock and of an ensemble.
package struct ServerOptions: Sendable {
    /// Their names.
    package static let names = ["password-file", "password-env", "ca-file", "cert-file", "key-file", "server-name"]

    /// The password from a file or the environment; `nil`: none of them is named.
    package private(set) var password: String?
    package private(set) var certificateAuthorityFile: String?
    package private(set) var certificateChainFile: String?
    package private(set) var privateKeyFile: String?
    package private(set) var serverName: String?
    /// The options that are the backend's own.
    package private(set) var others: [LockURL.QueryItem] = []

    /// - Parameter secureScheme: the scheme with TLS that belongs to the URL's own.
    package init(_ url: LockURL, secureScheme: String) throws(LockError) {
        for item in url.query {
            switch item.name {
            case "password-file": self.password = try SecretSource.firstLine(ofFile: item.value, option: item.name)
            case "password-env": self.password = try SecretSource.environmentVariable(item.value, option: item.name)
            case "ca-file", "cert-file", "key-file", "server-name":
                guard url.scheme == secureScheme else {
                    throw LockURL.invalid("\(item.name) is for \(secureScheme): only; \(url.scheme): is in clear")
                }
                switch item.name {
                case "ca-file": self.certificateAuthorityFile = item.value
                case "cert-file": self.certificateChainFile = item.value
                case "key-file": self.privateKeyFile = item.value
                default: self.serverName = item.value
                }
            default: self.others.append(item)
            }
        }
    }
}
