/// Why bytes from a ZooKeeper server are not what they should be.
package struct JuteError: Error, Hashable, Sendable, CustomStringConvertible {
    /// One line.
    package let description: String

    init(_ description: String) { self.description = description }

    static func truncated(_ what: String) -> JuteError { JuteError("a frame ends in the middle of \(what)") }

    static func tooLong(_ what: String, _ length: Int, limit: Int) -> JuteError {
        JuteError("\(what) of \(length), where \(limit) is the most allowed")
    }
}

/// What is read at most. Everything that a server can make longer has its bound here.
package struct JuteLimits: Hashable, Sendable {
    /// The longest frame.
    package var frameBytes: Int
    /// The most elements of a list, such as the children of a node.
    package var listElements: Int
    /// The most operations of a `multi` that are read back.
    package var multiResults: Int

    package init(frameBytes: Int = 4 << 20, listElements: Int = 131_072, multiResults: Int = 1_024) {
        self.frameBytes = frameBytes
        self.listElements = listElements
        self.multiResults = multiResults
    }
}
