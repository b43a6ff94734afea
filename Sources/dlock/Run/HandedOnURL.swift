import DistributedLocks
import Foundation
import Supervision

/// The backend's URL as a command under the lock finds it in DLOCK_BACKEND, for a dlock that the command calls.
///
/// It names the same backend from any folder, and shows no password. One that stands in the URL, or that came through a
/// pipe, is kept in memory that has no name in any folder and goes with this process; DLOCK_BACKEND names it as a
/// `password-file` below /proc, which processes of this user (and root) can read as long as this process lives.
struct HandedOnURL {
    /// For this process.
    let url: LockURL
    /// For the command.
    let text: String

    private static let passwordFiles = ["password-file", "sentinel-password-file"]
    private static let files = Self.passwordFiles + ["ca-file", "cert-file", "key-file"]

    init(_ original: LockURL) {
        var url = original
        for (index, item) in url.query.enumerated() where Self.files.contains(item.name) {
            var value = item.value
            if !value.hasPrefix("/"), let folder = Self.folder { value = folder + "/" + value }
            if Self.passwordFiles.contains(item.name), !value.hasPrefix("/") || !Self.canBeReadAgain(value),
                let password = try? SecretSource.firstLine(ofFile: value, option: item.name),
                let path = Self.memory(password)
            {
                value = path
            }
            url.query[index].value = value
        }
        self.url = url
        let hasOther = url.query.contains { $0.name == "password-file" || $0.name == "password-env" }
        if let password = url.password, !hasOther, let path = Self.memory(password) {
            url.query.append(LockURL.QueryItem(name: "password-file", value: path))
        }
        url.password = nil
        self.text = url.description
    }

    /// The working folder; `nil` if its name is no text, and so cannot stand in a URL.
    private static var folder: String? {
        guard let folder = getcwd(nil, 0) else { return nil }
        defer { free(folder) }
        return String(validatingCString: folder)
    }

    /// A pipe gives its contents once.
    private static func canBeReadAgain(_ path: String) -> Bool {
        var status = stat()
        return stat(path, &status) != 0 || status.st_mode & S_IFMT == S_IFREG
    }

    /// The path of a file in memory with this contents; `nil` where there is no such thing.
    private static func memory(_ password: String) -> String? {
        guard !password.isEmpty, !password.contains(where: \.isNewline) else { return nil }
        return MemoryFile.path(containing: Array(password.utf8))
    }
}
