// swift-tools-version: 6.2

import PackageDescription

let settings: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
    .enableUpcomingFeature("InferIsolatedConformances"),
    .treatAllWarnings(as: .error),
]

// What is fuzzed, a module for each wire format, in one archive with all they need. `fuzz.sh` links a file of Targets/ to it. Their
// folders are links into the main package, because `package` access does not reach from one package into another.
let package = Package(
    name: "fuzzing",
    platforms: [.macOS(.v15)],
    products: [.library(name: "Fuzzed", type: .static, targets: ["RESP", "Jute"])],
    dependencies: [.package(url: "https://github.com/apple/swift-nio", from: "2.101.0")],
    targets: [
        .target(
            name: "RESP",
            dependencies: [.product(name: "NIOCore", package: "swift-nio")],
            swiftSettings: settings
        ),
        .target(
            name: "Jute",
            dependencies: [.product(name: "NIOCore", package: "swift-nio")],
            swiftSettings: settings
        ),
    ],
    swiftLanguageModes: [.v6]
)
