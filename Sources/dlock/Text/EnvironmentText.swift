import Foundation

/// Variables of the environment, which need not be text.
enum EnvironmentText {
    /// As ``RawText`` has it; `nil` if it is not set.
    static func value(_ name: String) -> String? {
        guard let value = getenv(name) else { return nil }
        return RawText.string(Array(UnsafeRawBufferPointer(start: value, count: strlen(value))))
    }

    /// A variable that has to be text; `nil` if it is not set.
    static func text(_ name: String) throws -> String? {
        guard let value = Self.value(name) else { return nil }
        guard !RawText.hasEscapes(value) else {
            throw Failure(status: ExitStatus.usage, message: "\(name) is not UTF-8 text")
        }
        return value
    }
}
