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

// A package of its own, as a user's would be. See docs/flash-sale.md.
let package = Package(
    name: "FlashSale",
    platforms: [.macOS(.v15)],
    dependencies: [
        .package(name: "swift-distributed-locks", path: "../.."),
        .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0"),
    ],
    targets: [
        .executableTarget(
            name: "FlashSale",
            dependencies: [
                .product(name: "DistributedLocks", package: "swift-distributed-locks"),
                .product(name: "Fencing", package: "swift-distributed-locks"),
                .product(name: "FencingGRDB", package: "swift-distributed-locks"),
                .product(name: "LockURLs", package: "swift-distributed-locks"),
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "GRDB", package: "GRDB.swift"),
            ],
            swiftSettings: settings
        )
    ],
    swiftLanguageModes: [.v6]
)
