import LockKernel

/// The parts of a URL that names a backend.
///
/// Several hosts may stand in one URL, which is why general URL parsers cannot read it:
/// `scheme:[//[user[:password@]]host[:port][,host[:port]…]][/path][?key=value[&key=value…]]`. Percent-encoding is decoded
/// in every part, and written again by ``description``.
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
}

extension LockURL: CustomStringConvertible, CustomReflectable {
    /// The URL without its password: `LockURL(url.description)` has the same parts, but for that.
    public var description: String {
        var text = self.scheme + ":"
        if !self.hosts.isEmpty || self.path.utf8.first == UInt8(ascii: "/") {
            text += "//"
            if let user = self.user { text += Self.encoded(user) + "@" }
            text += self.hosts.map { host in
                let name =
                    host.name.utf8.contains(UInt8(ascii: ":"))
                    ? "[\(Self.encoded(host.name, plain: ":"))]" : Self.encoded(host.name)
                return name + (host.port.map { ":\($0)" } ?? "")
            }.joined(separator: ",")
        }
        text += Self.encoded(self.path, plain: "/:,=")
        if !self.query.isEmpty {
            text +=
                "?"
                + self.query.map { "\(Self.encoded($0.name))=\(Self.encoded($0.value, plain: "/:,="))" }
                .joined(separator: "&")
        }
        return text
    }

    /// The URL without its password.
    public var customMirror: Mirror { Mirror(self, children: ["url": self.description]) }

    /// Everything is percent-encoded but the unreserved characters of RFC 3986, and those in `plain`.
    private static func encoded(_ text: String, plain: String = "") -> String {
        Percent.encoded(text) { Percent.isUnreserved($0) || plain.unicodeScalars.contains($0) }
    }
}

/// What may be said of a URL that is wrong. It has to be safe to show to everybody.
extension LockURL {
    /// What to do about a password that is taken for something else.
    static let passwordAdvice =
        "a # / ? or @ in a password has to be percent-encoded (%23 %2F %3F %40), or use password-file or password-env"

    /// Whether what was read as a name or a value could be a part of a password that was not percent-encoded.
    private var mayShowPassword: Bool {
        let at = UInt8(ascii: "@")
        return self.user != nil || self.password != nil || self.path.utf8.contains(at)
            || self.hosts.contains { $0.name.utf8.contains(at) }
            || self.query.contains { $0.name.utf8.contains(at) || $0.value.utf8.contains(at) }
    }

    /// The scheme with its colon and in quotation marks, if it is none that could be the user of a URL without a scheme.
    package var quotedScheme: String { self.mayShowPassword ? "of that name" : "'\(self.scheme):'" }

    /// Something in this URL makes no sense. The reason must quote nothing of it but known schemes and names of options.
    package func unusable(_ reason: String) -> LockError {
        Self.invalid(self.mayShowPassword ? "\(reason) (\(Self.passwordAdvice))" : reason)
    }

    /// An option that the backend does not have. It is named, if it could not be a part of a password.
    package func unknownOption(_ item: QueryItem, known: [String]) -> LockError {
        let option = self.mayShowPassword ? "an option in the URL that it does not have" : "no option '\(item.name)'"
        return self.unusable("\(self.scheme): has \(option); it has \(known.joined(separator: ", "))")
    }

    package static func invalid(_ message: String) -> LockError {
        LockError(.invalidConfiguration, message)
    }
}
