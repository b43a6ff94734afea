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

func nio(_ name: String) -> Target.Dependency { .product(name: name, package: "swift-nio") }
func collections(_ name: String) -> Target.Dependency { .product(name: name, package: "swift-collections") }
let argumentParser: Target.Dependency = .product(name: "ArgumentParser", package: "swift-argument-parser")
let grdb: Target.Dependency = .product(name: "GRDB", package: "GRDB.swift", condition: .when(traits: ["Embedded"]))
let histogram: Target.Dependency = .product(name: "Histogram", package: "hdrhistogram-swift")
let logging: Target.Dependency = .product(name: "Logging", package: "swift-log")
let metrics: Target.Dependency = .product(name: "Metrics", package: "swift-metrics")
let serviceLifecycle: Target.Dependency = .product(name: "ServiceLifecycle", package: "swift-service-lifecycle")
let sqlite: Target.Dependency = .product(
    name: "GRDBSQLite", package: "GRDB.swift", condition: .when(traits: ["Embedded"]))
let subprocess: Target.Dependency = .product(name: "Subprocess", package: "swift-subprocess")
let systemPackage: Target.Dependency = .product(name: "SystemPackage", package: "swift-system")
let tracing: Target.Dependency = .product(name: "Tracing", package: "swift-distributed-tracing")
let unixSignals: Target.Dependency = .product(name: "UnixSignals", package: "swift-service-lifecycle")
/// What FencingHummingbird needs, and what its tests do.
let hummingbird: [Target.Dependency] = [
    .product(name: "HTTPTypes", package: "swift-http-types", condition: .when(traits: ["Hummingbird"])),
    .product(name: "Hummingbird", package: "hummingbird", condition: .when(traits: ["Hummingbird"])),
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
        .library(name: "FencingGRDB", targets: ["FencingGRDB"]),
        .library(name: "FencingHummingbird", targets: ["FencingHummingbird"]),
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
        .target(name: "LockKernel", dependencies: ["CKernel"]),
        .target(
            name: "DistributedLocks",
            dependencies: [
                "LockKernel", collections("DequeModule"), collections("HeapModule"), logging, metrics, serviceLifecycle,
                tracing,
            ]
        ),
        .target(name: "CEmbedded"),
        .target(
            name: "EmbeddedLocks",
            dependencies: ["CEmbedded", "DistributedLocks", "LockKernel", grdb, sqlite, logging]
        ),
        // Connections: for every store that is reached through a network.
        .target(
            name: "LockTransport",
            dependencies: [
                "LockKernel", nio("NIOCore"), nio("NIOPosix"), .product(name: "NIOSSL", package: "swift-nio-ssl"),
            ]
        ),
        .target(
            name: "RedisLocks",
            dependencies: [
                "DistributedLocks", "LockKernel", "LockTransport", collections("DequeModule"), logging, nio("NIOCore"),
                nio("NIOPosix"),
            ],
            resources: [.embedInCode("Scripts/Lua")]
        ),
        .target(
            name: "ZooKeeperLocks",
            dependencies: [
                "DistributedLocks", "LockKernel", "LockTransport", collections("DequeModule"), logging, nio("NIOCore"),
                nio("NIOPosix"),
            ]
        ),
        .target(
            name: "LockURLs",
            dependencies: [
                "DistributedLocks", "RedisLocks", "ZooKeeperLocks", logging,
                .target(name: "EmbeddedLocks", condition: .when(traits: ["Embedded"])),
            ]
        ),
        .target(name: "LockTesting", dependencies: ["DistributedLocks", "LockKernel"]),
        // The resource's side. What brings a dependency is a module of its own, so that nobody builds what they do not use.
        .target(
            name: "Fencing",
            dependencies: ["DistributedLocks", "LockKernel"],
            resources: [.embedInCode("Redis/Scripts"), .embedInCode("SQL/Statements")]
        ),
        .target(name: "FencingGRDB", dependencies: ["DistributedLocks", "Fencing", grdb]),
        .target(
            name: "FencingHummingbird",
            dependencies: [
                "DistributedLocks", "Fencing",
                .product(name: "NIOCore", package: "swift-nio", condition: .when(traits: ["Hummingbird"])),
            ] + hummingbird
        ),
        .target(name: "CSupervision"),
        .target(name: "Supervision", dependencies: ["CSupervision", "LockKernel"]),
        .executableTarget(
            name: "dlock",
            dependencies: [
                "DistributedLocks", "Fencing", "LockKernel", "LockURLs", "Supervision", argumentParser, histogram,
                logging,
                subprocess, systemPackage,
            ]
        ),
        // The shipped code in a world of its own: see HANDBOOK.md. A program, because it takes over the jobs of its whole process.
        .target(name: "CSimulator"),
        .target(
            name: "LockSimulator",
            dependencies: [
                "CSimulator", "DistributedLocks", "LockKernel", "LockTransport", "RedisLocks", "ZooKeeperLocks",
                collections("DequeModule"),
                collections("HeapModule"), logging, nio("NIOCore"), sqlite,
                .target(name: "EmbeddedLocks", condition: .when(traits: ["Embedded"])),
            ]
        ),
        .executableTarget(name: "lock-simulator", dependencies: ["LockSimulator", argumentParser]),
        // Servers, processes, proxies, clocks: what tests of several modules need.
        .target(
            name: "TestKit",
            dependencies: ["DistributedLocks", "LockKernel", nio("NIOCore"), nio("NIOPosix")],
            path: "Tests/TestKit"
        ),
        // A process that tests stop, kill and cut off: a client of a lock, or a supervisor of a command.
        .executableTarget(
            name: "test-agent",
            dependencies: ["DistributedLocks", "LockKernel", "LockTesting", "LockURLs", "Supervision"],
            path: "Tests/TestAgent"
        ),
        // The sources of Examples/FlashSale, so that its small sales are among the tests without a build of their own.
        .executableTarget(
            name: "flash-sale",
            dependencies: ["DistributedLocks", "Fencing", "FencingGRDB", "LockURLs", argumentParser, grdb],
            path: "Examples/FlashSale/Sources/FlashSale"
        ),
        .testTarget(
            name: "DistributedLocksTests",
            dependencies: [
                "DistributedLocks", "LockKernel", "LockTesting", "TestKit", logging, metrics, serviceLifecycle,
            ]
        ),
        .testTarget(
            name: "EmbeddedLocksTests",
            dependencies: [
                "CEmbedded", "DistributedLocks", "EmbeddedLocks", "LockKernel", "TestKit", "test-agent", grdb, sqlite,
            ]
        ),
        .testTarget(
            name: "RedisLocksTests",
            dependencies: [
                "DistributedLocks", "Fencing", "LockKernel", "LockTransport", "LockURLs", "RedisLocks", "TestKit",
                "test-agent",
                logging, nio("NIOCore"), nio("NIOPosix"), .product(name: "NIOSSL", package: "swift-nio-ssl"),
            ]
        ),
        .testTarget(
            name: "ZooKeeperLocksTests",
            dependencies: [
                "DistributedLocks", "LockKernel", "LockTransport", "LockURLs", "TestKit", "ZooKeeperLocks",
                "test-agent",
                nio("NIOCore"), nio("NIOPosix"),
            ]
        ),
        .testTarget(
            name: "LockURLsTests",
            dependencies: [
                "DistributedLocks", "EmbeddedLocks", "LockURLs", "RedisLocks", "TestKit", "ZooKeeperLocks", logging,
                serviceLifecycle, unixSignals,
            ]
        ),
        // One suite for every backend: a new one joins in Support/ContractStore.swift.
        .testTarget(
            name: "ContractTests",
            dependencies: ["DistributedLocks", "LockTesting", "LockURLs", "TestKit", "test-agent"]
        ),
        .testTarget(
            name: "FencingTests",
            dependencies: [
                "DistributedLocks", "Fencing", "FencingGRDB", "FencingHummingbird", "LockKernel", "LockTransport",
                "LockURLs",
                "TestKit", "ZooKeeperLocks", grdb, logging, nio("NIOCore"), nio("NIOPosix"),
            ] + hummingbird
        ),
        .testTarget(
            name: "LockSimulatorTests",
            dependencies: [
                "LockKernel", "LockSimulator", "TestKit", "ZooKeeperLocks", "lock-simulator", nio("NIOCore"), sqlite,
            ],
            exclude: ["Planted"]
        ),
        .testTarget(name: "FlashSaleTests", dependencies: ["TestKit", "flash-sale"]),
        .testTarget(
            name: "DlockTests",
            dependencies: [
                "CSupervision", "DistributedLocks", "LockKernel", "LockTesting", "Supervision", "TestKit", "dlock",
                "test-agent",
            ]
        ),
        .testTarget(name: "HouseTests"),
    ],
    swiftLanguageModes: [.v6]
)

// For all that is written in Swift; the targets in C have none of these.
for target in package.targets where !target.name.hasPrefix("C") || target.name == "ContractTests" {
    target.swiftSettings = settings
}
