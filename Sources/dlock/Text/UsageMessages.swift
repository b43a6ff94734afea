import ArgumentParser
import DistributedLocks

/// What is said about wrong usage: one line with what is wrong, what would be right, and whose `--help` tells more.
enum UsageMessages {
    /// What the parser would say in a way that helps nobody.
    static func checkBeforeParsing(_ arguments: [String]) throws {
        try Self.checkText(arguments)
        try Self.checkCommand(arguments, among: Dlock.configuration, path: "dlock")
    }

    /// Arguments have to be text, but for a command's own and the names of files.
    private static func checkText(_ arguments: [String]) throws {
        guard arguments.first != WriteCommand.configuration.commandName else { return }
        let own = arguments.prefix { $0 != "--" }
        guard let index = own.firstIndex(where: RawText.hasEscapes) else { return }
        throw Failure(
            status: ExitStatus.usage,
            message: "argument \(index + 1) ('\(own[index])') is not UTF-8 text (see \(Self.help(arguments)))"
        )
    }

    private static func checkCommand(
        _ arguments: [String],
        among configuration: CommandConfiguration,
        path: String
    ) throws {
        let commands = configuration.subcommands
        guard !commands.isEmpty, let word = arguments.first, !word.hasPrefix("-"), word != "help" else { return }
        if let command = commands.first(where: { Self.name($0) == word }) {
            return try Self.checkCommand(
                Array(arguments.dropFirst()), among: command.configuration, path: "\(path) \(word)")
        }
        let known = commands.filter { $0.configuration.shouldDisplay }.map { Self.name($0) }
        let nearest = known.min { Self.distance($0, word) < Self.distance($1, word) }
        let hint =
            if let nearest, Self.distance(nearest, word) <= 2 || nearest.hasPrefix(word) {
                "did you mean '\(nearest)'?"
            } else {
                "there are " + known.joined(separator: ", ")
            }
        // What stands there may be a URL that was meant for --backend.
        let shown = Self.withoutSecrets(word, arguments)
        throw Failure(
            status: ExitStatus.usage,
            message: "there is no command '\(shown)': \(hint) (see \(path) --help)"
        )
    }

    private static func name(_ command: any ParsableCommand.Type) -> String {
        command.configuration.commandName ?? command._commandName
    }

    /// The parser's message in one line.
    static func line(_ message: String, arguments: [String]) -> String {
        let line = message.split(separator: "\n").map { $0.drop { $0 == " " } }.joined(separator: " ")
        return "\(Self.withoutSecrets(Self.aboutDurations(line), arguments)) (see \(Self.help(arguments)))"
    }

    /// Says what a duration looks like.
    private static func aboutDurations(_ line: String) -> String {
        guard line.hasSuffix("<duration>'"),
            let match = line.firstMatch(of: /^The value '(.*)' is invalid for '(.*) <duration>'$/)
        else { return line }
        let (value, option) = (match.output.1, match.output.2)
        let isNumber = !value.isEmpty && value.allSatisfy { $0.isNumber || $0 == "." }
        let what = isNumber ? "the duration '\(value)' has no unit" : "'\(value)' is no duration"
        let example = isNumber ? "\(value)s, \(value)m or \(value)h" : "500ms, 10s, 5m or 1h30m"
        return "\(option): \(what): write it as in \(example)"
    }

    /// Whose help it is.
    private static func help(_ arguments: [String]) -> String {
        var (path, configuration) = ("dlock", Dlock.configuration)
        for word in arguments {
            guard let command = configuration.subcommands.first(where: { Self.name($0) == word }) else { break }
            path += " \(word)"
            configuration = command.configuration
        }
        return path + " --help"
    }

    /// A URL may hold a password, wherever somebody has put it.
    private static func withoutSecrets(_ line: String, _ arguments: [String]) -> String {
        var line = line
        for argument in arguments where argument.contains("@") && argument.contains(":") {
            guard let at = argument.lastIndex(of: "@") else { continue }
            line = line.replacing(argument, with: "…" + argument[at...])
            // As in --backend=URL.
            if let equals = argument.firstIndex(of: "="), equals < at {
                line = line.replacing(argument[argument.index(after: equals)...], with: "…" + argument[at...])
            }
        }
        return line
    }

    /// How many letters have to be changed, put in or left out to make one word of the other (Levenshtein).
    private static func distance(_ a: String, _ b: String) -> Int {
        let (a, b) = (Array(a), Array(b))
        var row = Array(0...b.count)
        for i in a.indices {
            var diagonal = row[0]
            row[0] = i + 1
            for j in b.indices {
                let next = min(row[j] + 1, row[j + 1] + 1, diagonal + (a[i] == b[j] ? 0 : 1))
                diagonal = row[j + 1]
                row[j + 1] = next
            }
        }
        return row[b.count]
    }
}
