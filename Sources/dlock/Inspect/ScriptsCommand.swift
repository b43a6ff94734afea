import ArgumentParser
import DistributedLocks
import Foundation
import LockURLs

struct ScriptsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "scripts",
        abstract: "Lists or loads the Lua scripts that Redis backends run.",
        discussion: """
            Normally nobody has to think of them: a server that does not know a
            script is sent its text. A server whose lock users may not use EVAL
            needs them loaded beforehand, by somebody who may use SCRIPT LOAD, and
            again after each restart and each SCRIPT FLUSH.
            """,
        subcommands: [List.self, Load.self]
    )

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "list",
            abstract: "Shows the scripts and the hashes by which servers know them."
        )

        @Flag(help: "Writes JSON, with the scripts' texts.")
        var json = false

        @Argument(help: "Shows the text of this script.")
        var script: String?

        func run() async throws {
            let scripts = LockBackends.serverScripts
            if let name = self.script {
                guard let script = scripts.first(where: { $0.name == name }) else {
                    let known = scripts.map(\.name).joined(separator: ", ")
                    throw Failure(status: ExitStatus.usage, message: "there is no script '\(name)'; there are \(known)")
                }
                Console.print(script.text)
            } else if self.json {
                let rows = scripts.map { ["name": $0.name, "sha1": $0.hash, "text": $0.text] }
                let encoder = JSONEncoder()
                encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
                Console.print(String(decoding: try encoder.encode(rows), as: UTF8.self))
            } else {
                Console.print(scripts.map { "\($0.hash)  \($0.name)" }.joined(separator: "\n"))
            }
        }
    }

    struct Load: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "load",
            abstract: "Loads the scripts into a Redis server.",
            discussion: "Exit codes: 0 they are loaded, 64 wrong usage, 69 the server cannot be used or refuses."
        )

        @OptionGroup var backend: BackendOptions

        func run() async throws {
            let url = try self.backend.url
            do {
                let scripts = try await LockBackends.loadServerScripts(url: url)
                Console.print("\(scripts.count) scripts are loaded")
            } catch {
                throw Failure(error)
            }
        }
    }
}
