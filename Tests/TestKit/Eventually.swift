/// Waits until something is true, looking again and again.
///
/// - Throws: when it does not come true.
package func eventually(
    within limit: Duration = .seconds(30),
    _ what: String,
    isolation: isolated (any Actor)? = #isolation,
    file: StaticString = #fileID,
    line: UInt = #line,
    _ condition: () async throws -> Bool
) async throws {
    let deadline = ContinuousClock.now + limit
    while ContinuousClock.now < deadline {
        if try await condition() { return }
        // Goes on in a cancelled task, too.
        await Task { try? await Task.sleep(for: .milliseconds(2)) }.value
    }
    throw TestKitError("\(file):\(line): not within \(limit): \(what)")
}
