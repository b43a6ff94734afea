// swift-tools-version: 6.2

import PackageDescription

let settings: [SwiftSetting] = [
    // https://github.com/swiftlang/swift-evolution/blob/main/proposals/0335-existential-any.md
    .enableUpcomingFeature("ExistentialAny"),
    // https://github.com/swiftlang/swift-evolution/blob/main/proposals/0409-access-level-on-imports.md
    .enableUpcomingFeature("InternalImportsByDefault"),
    // https://github.com/swiftlang/swift-evolution/blob/main/proposals/0444-member-import-visibility.md
    .enableUpcomingFeature("MemberImportVisibility"),
    // https://github.com/swiftlang/swift-evolution/blob/main/proposals/0461-async-function-isolation.md
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
    // https://github.com/swiftlang/swift-evolution/blob/main/proposals/0470-isolated-conformances.md
    .enableUpcomingFeature("InferIsolatedConformances"),
    // Applies to this package as root only: dependents are never broken by a new compiler's warning.
    // https://github.com/swiftlang/swift-evolution/blob/main/proposals/0480-swiftpm-warning-control.md
    .treatAllWarnings(as: .error),
]

let package = Package(
    name: "swift-distributed-locks",
    platforms: [.macOS(.v15)],
    products: [
        .library(name: "DistributedLocks", targets: ["DistributedLocks"]),
        .library(name: "EmbeddedLocks", targets: ["EmbeddedLocks"]),
        .library(name: "RedisLocks", targets: ["RedisLocks"]),
        .library(name: "ZooKeeperLocks", targets: ["ZooKeeperLocks"]),
        .library(name: "LockURLs", targets: ["LockURLs"]),
        .library(name: "LockTesting", targets: ["LockTesting"]),
        .library(name: "Fencing", targets: ["Fencing"]),
        .library(name: "FencingSQL", targets: ["FencingSQL"]),
        .library(name: "FencingGRDB", targets: ["FencingGRDB"]),
        .library(name: "FencingRedis", targets: ["FencingRedis"]),
        .library(name: "FencingZooKeeper", targets: ["FencingZooKeeper"]),
        .library(name: "FencingHTTP", targets: ["FencingHTTP"]),
        .library(name: "FencingHummingbird", targets: ["FencingHummingbird"]),
        .library(name: "FencingFiles", targets: ["FencingFiles"]),
        .executable(name: "dlock", targets: ["dlock"]),
    ],
    traits: [
        .trait(name: "Embedded", description: "The embedded backend and FencingGRDB, which bring GRDB and SQLite."),
        .trait(name: "Hummingbird", description: "FencingHummingbird, which brings Hummingbird. Off by default."),
        .default(enabledTraits: ["Embedded"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.0"),
        .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.0"),
        .package(url: "https://github.com/apple/swift-metrics", from: "2.13.0"),
        .package(url: "https://github.com/apple/swift-distributed-tracing", from: "1.7.0"),
        .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-system", from: "1.8.0"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
        .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
        .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1"),
        .package(url: "https://github.com/apple/swift-http-types", from: "1.8.0"),
        .package(url: "https://github.com/swiftlang/swift-subprocess", from: "1.0.0"),
        .package(url: "https://github.com/HdrHistogram/hdrhistogram-swift", from: "0.2.0"),
        .package(url: "https://github.com/swiftlang/swift-docc-plugin", from: "1.5.0"),
    ],
    targets: [
        .target(name: "CKernel"),
        .target(name: "LockKernel", dependencies: ["CKernel"], swiftSettings: settings),
        .target(
            name: "DistributedLocks",
            dependencies: [
                "LockKernel",
                .product(name: "DequeModule", package: "swift-collections"),
                .product(name: "HeapModule", package: "swift-collections"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "Metrics", package: "swift-metrics"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
                .product(name: "Tracing", package: "swift-distributed-tracing"),
            ],
            swiftSettings: settings
        ),
        .target(name: "CEmbedded", path: "Sources/Backends/CEmbedded"),
        .target(
            name: "EmbeddedLocks",
            dependencies: [
                "CEmbedded", "DistributedLocks", "LockKernel",
                .product(name: "GRDB", package: "GRDB.swift", condition: .when(traits: ["Embedded"])),
                .product(name: "GRDBSQLite", package: "GRDB.swift", condition: .when(traits: ["Embedded"])),
                .product(name: "Logging", package: "swift-log"),
            ],
            path: "Sources/Backends/Embedded",
            swiftSettings: settings
        ),
        .target(
            name: "RESP",
            dependencies: [.product(name: "NIOCore", package: "swift-nio")],
            path: "Sources/Backends/Redis/RESP",
            swiftSettings: settings
        ),
        .target(
            name: "Transport",
            dependencies: [
                "LockKernel",
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "NIOSSL", package: "swift-nio-ssl"),
            ],
            path: "Sources/Backends/Transport",
            swiftSettings: settings
        ),
        .target(
            name: "RedisClient",
            dependencies: [
                "LockKernel", "RESP", "Transport",
                .product(name: "DequeModule", package: "swift-collections"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio"),
            ],
            path: "Sources/Backends/Redis/Client",
            swiftSettings: settings
        ),
        .target(
            name: "RedisLocks",
            dependencies: [
                "DistributedLocks", "LockKernel", "RESP", "RedisClient", "Transport",
                .product(name: "DequeModule", package: "swift-collections"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
            ],
            path: "Sources/Backends/Redis/Locks",
            resources: [.embedInCode("Scripts")],
            swiftSettings: settings
        ),
        .target(
            name: "Jute",
            dependencies: [.product(name: "NIOCore", package: "swift-nio")],
            path: "Sources/Backends/ZooKeeper/Jute",
            swiftSettings: settings
        ),
        .target(
            name: "ZooKeeperClient",
            dependencies: [
                "Jute", "LockKernel", "Transport",
                .product(name: "DequeModule", package: "swift-collections"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio"),
            ],
            path: "Sources/Backends/ZooKeeper/Client",
            swiftSettings: settings
        ),
        .target(
            name: "ZooKeeperLocks",
            dependencies: [
                "DistributedLocks", "Jute", "LockKernel", "Transport", "ZooKeeperClient",
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
            ],
            path: "Sources/Backends/ZooKeeper/Locks",
            swiftSettings: settings
        ),
        .target(
            name: "LockURLs",
            dependencies: [
                "DistributedLocks", "RedisLocks", "ZooKeeperLocks",
                .target(name: "EmbeddedLocks", condition: .when(traits: ["Embedded"])),
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: settings
        ),
        .target(
            name: "LockTesting",
            dependencies: ["DistributedLocks"],
            swiftSettings: settings
        ),
        // The resource's side. A module for each kind of resource, so that nobody builds what they do not use.
        .target(
            name: "Fencing",
            dependencies: ["DistributedLocks"],
            path: "Sources/Fencing/Rule",
            swiftSettings: settings
        ),
        .target(
            name: "FencingSQL",
            path: "Sources/Fencing/SQL",
            resources: [.embedInCode("Statements")],
            swiftSettings: settings
        ),
        .target(
            name: "FencingGRDB",
            dependencies: [
                "DistributedLocks", "Fencing", "FencingSQL",
                .product(name: "GRDB", package: "GRDB.swift", condition: .when(traits: ["Embedded"])),
            ],
            path: "Sources/Fencing/GRDB",
            swiftSettings: settings
        ),
        .target(
            name: "FencingRedis",
            dependencies: ["DistributedLocks", "Fencing"],
            path: "Sources/Fencing/Redis",
            resources: [.embedInCode("Scripts")],
            swiftSettings: settings
        ),
        .target(
            name: "FencingZooKeeper",
            dependencies: ["DistributedLocks", "Fencing"],
            path: "Sources/Fencing/ZooKeeper",
            swiftSettings: settings
        ),
        .target(
            name: "FencingHTTP",
            dependencies: ["DistributedLocks", "Fencing"],
            path: "Sources/Fencing/HTTP",
            swiftSettings: settings
        ),
        .target(
            name: "FencingHummingbird",
            dependencies: [
                "DistributedLocks", "Fencing", "FencingHTTP",
                .product(name: "HTTPTypes", package: "swift-http-types", condition: .when(traits: ["Hummingbird"])),
                .product(name: "Hummingbird", package: "hummingbird", condition: .when(traits: ["Hummingbird"])),
                .product(name: "NIOCore", package: "swift-nio", condition: .when(traits: ["Hummingbird"])),
            ],
            path: "Sources/Fencing/Hummingbird",
            swiftSettings: settings
        ),
        .target(
            name: "FencingFiles",
            dependencies: ["DistributedLocks", "Fencing"],
            path: "Sources/Fencing/Files",
            swiftSettings: settings
        ),
        .target(name: "CSupervision", path: "Sources/dlock/CSupervision"),
        .target(
            name: "Supervision",
            dependencies: ["CSupervision"],
            path: "Sources/dlock/Supervision",
            swiftSettings: settings
        ),
        .executableTarget(
            name: "dlock",
            dependencies: [
                "DistributedLocks", "Fencing", "FencingFiles", "LockKernel", "LockURLs", "Supervision",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Histogram", package: "hdrhistogram-swift"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "Subprocess", package: "swift-subprocess"),
                .product(name: "SystemPackage", package: "swift-system"),
            ],
            path: "Sources/dlock/Tool",
            swiftSettings: settings
        ),
        .testTarget(
            name: "DistributedLocksTests",
            dependencies: [
                "DistributedLocks", "LockKernel", "LockTesting", "ServerKit",
                .product(name: "Logging", package: "swift-log"),
                .product(name: "Metrics", package: "swift-metrics"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
            ],
            swiftSettings: settings
        ),
        .testTarget(
            name: "EmbeddedLocksTests",
            dependencies: [
                "CEmbedded", "DistributedLocks", "EmbeddedLocks", "LockKernel", "ServerKit", "contract-agent",
                .product(name: "GRDB", package: "GRDB.swift"),
            ],
            swiftSettings: settings
        ),
        .testTarget(
            name: "LockURLsTests",
            dependencies: [
                "DistributedLocks", "EmbeddedLocks", "LockURLs", "RedisLocks", "ServerKit", "ZooKeeperLocks",
                .product(name: "Logging", package: "swift-log"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
                .product(name: "UnixSignals", package: "swift-service-lifecycle"),
            ],
            swiftSettings: settings
        ),
        // Servers, proxies and other things that tests of several modules need.
        .target(
            name: "ServerKit",
            dependencies: [
                "DistributedLocks", "LockKernel",
                .product(name: "NIOCore", package: "swift-nio"), .product(name: "NIOPosix", package: "swift-nio"),
            ],
            path: "Tests/ServerKit",
            swiftSettings: settings
        ),
        .testTarget(
            name: "RESPTests",
            dependencies: ["RESP", .product(name: "NIOCore", package: "swift-nio")],
            swiftSettings: settings
        ),
        .testTarget(
            name: "RedisClientTests",
            dependencies: [
                "LockKernel", "RESP", "RedisClient", "ServerKit", "Transport",
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "NIOSSL", package: "swift-nio-ssl"),
            ],
            swiftSettings: settings
        ),
        .testTarget(
            name: "RedisLocksTests",
            dependencies: [
                "DistributedLocks", "Fencing", "LockKernel", "LockURLs", "RESP", "RedisClient", "RedisLocks",
                "ServerKit",
                "contract-agent",
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio"),
            ],
            swiftSettings: settings
        ),
        .testTarget(
            name: "JuteTests",
            dependencies: ["Jute", .product(name: "NIOCore", package: "swift-nio")],
            swiftSettings: settings
        ),
        .testTarget(
            name: "ZooKeeperClientTests",
            dependencies: [
                "Jute", "Transport", "ZooKeeperClient",
                .product(name: "NIOCore", package: "swift-nio"),
            ],
            swiftSettings: settings
        ),
        .testTarget(
            name: "ZooKeeperLocksTests",
            dependencies: [
                "DistributedLocks", "Jute", "LockURLs", "ServerKit", "ZooKeeperClient", "ZooKeeperLocks",
                "contract-agent", .product(name: "NIOCore", package: "swift-nio"),
            ],
            swiftSettings: settings
        ),
        // One suite for every backend: a new one joins in Support/ContractStore.swift.
        .testTarget(
            name: "ContractTests",
            dependencies: ["DistributedLocks", "LockTesting", "LockURLs", "ServerKit", "contract-agent"],
            swiftSettings: settings
        ),
        .executableTarget(
            name: "contract-agent",
            dependencies: ["DistributedLocks", "LockTesting", "LockURLs"],
            path: "Tests/ContractAgent",
            swiftSettings: settings
        ),
        .testTarget(
            name: "SupervisionTests",
            dependencies: ["CSupervision", "ServerKit", "Supervision", "supervision-agent"],
            swiftSettings: settings
        ),
        .executableTarget(
            name: "supervision-agent",
            dependencies: ["Supervision"],
            path: "Tests/SupervisionAgent",
            swiftSettings: settings
        ),
        .testTarget(
            name: "FencingTests",
            dependencies: [
                "DistributedLocks", "Fencing", "FencingFiles", "FencingGRDB", "FencingHTTP", "FencingHummingbird",
                "FencingRedis", "FencingSQL", "FencingZooKeeper", "Jute", "LockURLs", "ServerKit", "Transport",
                "ZooKeeperClient",
                .product(name: "GRDB", package: "GRDB.swift"),
                .product(name: "HTTPTypes", package: "swift-http-types", condition: .when(traits: ["Hummingbird"])),
                .product(name: "Hummingbird", package: "hummingbird", condition: .when(traits: ["Hummingbird"])),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
            ],
            swiftSettings: settings
        ),
        // The sources of Examples/FlashSale, so that its small sales are among the tests without a build of their own.
        .executableTarget(
            name: "flash-sale",
            dependencies: [
                "DistributedLocks", "Fencing", "FencingGRDB", "FencingSQL", "LockURLs",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "GRDB", package: "GRDB.swift", condition: .when(traits: ["Embedded"])),
            ],
            path: "Examples/FlashSale/Sources/FlashSale",
            swiftSettings: settings
        ),
        .testTarget(name: "FlashSaleTests", dependencies: ["ServerKit", "flash-sale"], swiftSettings: settings),
        .testTarget(
            name: "DlockToolTests",
            dependencies: ["DistributedLocks", "LockTesting", "ServerKit", "dlock"],
            swiftSettings: settings
        ),
        .testTarget(name: "HouseTests", swiftSettings: settings),
    ],
    swiftLanguageModes: [.v6]
)
