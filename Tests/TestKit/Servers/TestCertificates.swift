package import Foundation

/// Certificates for tests, made with the openssl command: an authority, and what it signed for a server.
package struct TestCertificates: Sendable {
    package let authority: URL
    package let certificate: URL
    package let key: URL
    /// The key and the certificate in one file, as Java wants them.
    package let keyStore: URL

    /// For `localhost`, 127.0.0.1 and ::1.
    package static let good = Self.made("good", names: "DNS:localhost,IP:127.0.0.1,IP:::1")
    /// For another host.
    package static let wrongName = Self.made("wrong-name", names: "DNS:elsewhere.example")

    /// For names of docker's kind, which have an underscore.
    package static let underscores = Self.made(
        "underscores", names: "DNS:redis_1,DNS:*.my_net.example,DNS:plain.example")

    private static func made(_ name: String, names: String) -> Result<TestCertificates, any Error> {
        Result {
            let folder = FileManager.default.temporaryDirectory
                .appending(path: "dlock-certificates-\(getpid())-\(name)")
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
            let script = """
                set -e; cd '\(folder.path)'
                openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "/CN=test CA \(name)" \
                    -keyout ca.key -out ca.pem
                openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=test" -keyout key.pem -out req.pem
                printf 'subjectAltName=\(names)\\n' > names
                openssl x509 -req -in req.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out cert.pem
                cat key.pem cert.pem > store.pem
                """
            let child = try ChildProcess("sh", ["-c", script], output: folder.appending(path: "log").path)
            while !child.hasEnded { usleep(2_000) }
            let made = TestCertificates(
                authority: folder.appending(path: "ca.pem"),
                certificate: folder.appending(path: "cert.pem"),
                key: folder.appending(path: "key.pem"),
                keyStore: folder.appending(path: "store.pem")
            )
            guard FileManager.default.fileExists(atPath: made.keyStore.path) else {
                throw TestKitError("openssl made no certificate: see \(folder.path)/log")
            }
            return made
        }
    }
}
