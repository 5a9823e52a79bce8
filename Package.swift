// swift-tools-version: 6.2
import PackageDescription

/// Settings of every Swift target: Swift 6 language mode comes with the tools version. Warnings are errors in our own
/// targets only; those of dependencies are not ours to mend.
let strict: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .treatAllWarnings(as: .error),
]

/// The HTTP client of the machine's cloud and of object storage.
let httpClient = Target.Dependency.product(name: "AsyncHTTPClient", package: "async-http-client")

let package = Package(
    name: "ocr-cluster",
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser.git", exact: "1.8.2"),
        .package(url: "https://github.com/apple/swift-log.git", exact: "1.16.2"),
        .package(url: "https://github.com/apple/swift-nio.git", exact: "2.101.2"),
        .package(url: "https://github.com/apple/swift-nio-ssl.git", exact: "2.37.6"),
        .package(url: "https://github.com/apple/swift-crypto.git", exact: "4.5.2"),
        .package(url: "https://github.com/apple/swift-asn1.git", exact: "1.7.4"),
        .package(url: "https://github.com/apple/swift-certificates.git", exact: "1.21.1"),
        .package(url: "https://github.com/apple/swift-protobuf.git", exact: "1.39.0"),
        .package(url: "https://github.com/groue/GRDB.swift.git", exact: "7.10.0"),
        .package(url: "https://github.com/swift-server/async-http-client.git", exact: "1.37.0"),
        .package(url: "https://github.com/grpc/grpc-swift-2.git", exact: "2.4.3"),
        .package(url: "https://github.com/grpc/grpc-swift-nio-transport.git", exact: "2.9.2"),
        .package(url: "https://github.com/grpc/grpc-swift-protobuf.git", exact: "2.4.1"),
        .package(url: "https://github.com/LebJe/TOMLKit.git", exact: "0.6.0"),
    ],
    targets: [
        // Cores and the model: standard library only.
        .target(name: "ClusterModel", swiftSettings: strict),

        .target(name: "Membership", dependencies: ["ClusterModel"], swiftSettings: strict),
        .target(name: "Coordination", dependencies: ["ClusterModel"], swiftSettings: strict),

        .target(
            name: "CTesseract",
            linkerSettings: [.linkedLibrary("tesseract"), .linkedLibrary("lept"), .linkedLibrary("tiff")]),
        .target(name: "CPoppler", linkerSettings: [.linkedLibrary("poppler-cpp")]),
        .target(
            name: "OCR",
            dependencies: [
                "ClusterModel", "CPoppler", "CTesseract", .product(name: "Crypto", package: "swift-crypto"),
            ],
            swiftSettings: strict),

        .target(name: "CWorkerSandbox"),
        .target(name: "WorkerPool", dependencies: ["ClusterModel", "CWorkerSandbox"], swiftSettings: strict),

        .target(
            name: "Ledger",
            dependencies: [
                "ClusterModel",
                .product(name: "Crypto", package: "swift-crypto"),
                .product(name: "GRDB", package: "GRDB.swift"),
                .product(name: "GRDBSQLite", package: "GRDB.swift"),
            ],
            swiftSettings: strict),
        .target(
            name: "Wire",
            dependencies: [
                "CZstandard", "ClusterModel",
                .product(name: "Crypto", package: "swift-crypto"),
                .product(name: "GRPCCore", package: "grpc-swift-2"),
                .product(name: "GRPCProtobuf", package: "grpc-swift-protobuf"),
                .product(name: "SwiftProtobuf", package: "swift-protobuf"),
            ],
            swiftSettings: strict),
        .target(
            name: "Simulator", dependencies: ["ClusterModel", "Coordination", "Ledger", "Membership"],
            swiftSettings: strict),
        .executableTarget(
            name: "simulate",
            dependencies: [
                "ClusterModel", "Coordination", "Membership", "Simulator",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            swiftSettings: strict),
        .target(
            name: "Transport",
            dependencies: [
                "ClusterModel", "Wire",
                .product(name: "Crypto", package: "swift-crypto"),
                .product(name: "GRPCCore", package: "grpc-swift-2"),
                .product(name: "GRPCNIOTransportHTTP2", package: "grpc-swift-nio-transport"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "NIOSSL", package: "swift-nio-ssl"),
                .product(name: "NIOTLS", package: "swift-nio"),
                .product(name: "SwiftASN1", package: "swift-asn1"),
                .product(name: "SwiftProtobuf", package: "swift-protobuf"),
                .product(name: "X509", package: "swift-certificates"),
            ],
            swiftSettings: strict),
        .target(name: "CMemoryFile"),
        .target(
            name: "CloudMetadata",
            dependencies: [
                "ClusterModel", httpClient,
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
            ],
            swiftSettings: strict),
        .target(
            name: "ObjectStorage",
            dependencies: [
                "CloudMetadata", "ClusterModel", httpClient,
                .product(name: "Crypto", package: "swift-crypto"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
            ],
            swiftSettings: strict),
        .target(
            name: "ImageSources",
            dependencies: ["CMemoryFile", "ClusterModel", .product(name: "Crypto", package: "swift-crypto")],
            swiftSettings: strict),
        .target(
            name: "NodeRuntime",
            dependencies: [
                "CloudMetadata", "ClusterModel", "Coordination", "ImageSources", "Ledger", "Membership", "OCR",
                "ObjectStorage", "Submission", "Transport", "Wire", "WorkerPool",
                .product(name: "GRPCCore", package: "grpc-swift-2"),
                .product(name: "GRPCNIOTransportHTTP2", package: "grpc-swift-nio-transport"),
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: strict),
        .target(
            name: "ClusterConfiguration",
            dependencies: ["ClusterModel", .product(name: "TOMLKit", package: "TOMLKit")],
            swiftSettings: strict),
        .target(name: "CFolderFacts"),
        .target(name: "CFolderSync"),
        .target(name: "CInflate", linkerSettings: [.linkedLibrary("z")]),
        .target(name: "CQpdf", linkerSettings: [.linkedLibrary("qpdf")]),
        .target(name: "CZstandard", linkerSettings: [.linkedLibrary("zstd")]),
        .target(
            name: "Submission", dependencies: ["CFolderFacts", "CInflate", "ClusterModel"], swiftSettings: strict),
        .target(
            name: "Results",
            dependencies: [
                "CFolderSync", "CQpdf", "CZstandard", "ClusterModel", "Wire",
                .product(name: "GRDB", package: "GRDB.swift"),
                .product(name: "Crypto", package: "swift-crypto"),
            ],
            swiftSettings: strict),
        .executableTarget(
            name: "node",
            dependencies: [
                "CWorkerSandbox", "CloudMetadata", "ClusterModel", "ClusterConfiguration", "Membership", "NodeRuntime",
                "OCR", "ObjectStorage", "Results", "Submission", "Transport", "Wire", "WorkerPool",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "GRPCCore", package: "grpc-swift-2"),
                .product(name: "GRPCNIOTransportHTTP2", package: "grpc-swift-nio-transport"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "SwiftProtobuf", package: "swift-protobuf"),
            ],
            swiftSettings: strict),

        // Measurements.
        .executableTarget(
            name: "bench-engine",
            dependencies: [
                "ClusterModel", "Coordination", "Ledger", "NodeRuntime", "Wire",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            path: "Benchmarks/bench-engine", swiftSettings: strict),
        .executableTarget(
            name: "bench-cluster",
            dependencies: [
                "ClusterModel", "NodeRuntime", "OCR", "Wire", "WorkerPool",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "GRPCCore", package: "grpc-swift-2"),
                .product(name: "GRPCNIOTransportHTTP2", package: "grpc-swift-nio-transport"),
                .product(name: "Logging", package: "swift-log"),
            ],
            path: "Benchmarks/bench-cluster", swiftSettings: strict),
        .executableTarget(
            name: "ledger-bench", dependencies: ["ClusterModel", "Ledger"], path: "Benchmarks/ledger-bench",
            swiftSettings: strict),

        .executableTarget(name: "bare-loop", linkerSettings: [.linkedLibrary("tesseract"), .linkedLibrary("lept")]),

        // Tests and the programs that they start.
        .target(name: "CHostileProbe", path: "Tests/CHostileProbe"),
        .executableTarget(
            name: "worker-fixture", dependencies: ["CHostileProbe", "ClusterModel", "WorkerPool"],
            path: "Tests/worker-fixture", swiftSettings: strict),
        .target(
            name: "LedgerWorkload", dependencies: ["ClusterModel", "Ledger"], path: "Tests/LedgerWorkload",
            swiftSettings: strict),
        .executableTarget(
            name: "ledger-crasher", dependencies: ["ClusterModel", "Ledger", "LedgerWorkload"],
            path: "Tests/ledger-crasher", swiftSettings: strict),
        .target(
            name: "WireDecoders",
            dependencies: [
                "ClusterModel", "Wire", .product(name: "SwiftProtobuf", package: "swift-protobuf"),
            ],
            path: "Fuzz/Decoders", swiftSettings: strict),
        .target(
            name: "MetadataFixture",
            dependencies: [
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
            ],
            path: "Tests/MetadataFixture", swiftSettings: strict),
        .testTarget(
            name: "CloudMetadataTests", dependencies: ["CloudMetadata", "ClusterModel", "MetadataFixture"],
            swiftSettings: strict),
        .testTarget(
            name: "ObjectStorageCredentialsTests",
            dependencies: ["CloudMetadata", "ClusterModel", "MetadataFixture", "ObjectStorage"],
            swiftSettings: strict),
        .target(name: "PageFiles", path: "Tests/PageFiles", swiftSettings: strict),
        .testTarget(name: "ClusterModelTests", dependencies: ["ClusterModel"], swiftSettings: strict),
        .testTarget(
            name: "CoordinationTests", dependencies: ["ClusterModel", "Coordination", "Ledger"], swiftSettings: strict),
        .testTarget(name: "MembershipTests", dependencies: ["ClusterModel", "Membership"], swiftSettings: strict),
        .testTarget(
            name: "SimulatorTests",
            dependencies: ["ClusterModel", "Coordination", "Membership", "Simulator", "simulate"],
            exclude: ["Scenarios"], swiftSettings: strict),
        .testTarget(
            name: "TransportTests",
            dependencies: [
                "ClusterModel", "Transport", "Wire", .product(name: "GRPCCore", package: "grpc-swift-2"),
                .product(name: "Crypto", package: "swift-crypto"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "SwiftASN1", package: "swift-asn1"),
                .product(name: "X509", package: "swift-certificates"),
            ],
            swiftSettings: strict),
        .testTarget(
            name: "ClusterTests", dependencies: ["ClusterModel", "node"], swiftSettings: strict),
        .testTarget(
            name: "LedgerTests",
            dependencies: [
                "ClusterModel", "Ledger", "LedgerWorkload", "ledger-crasher",
                .product(name: "GRDB", package: "GRDB.swift"),
                .product(name: "GRDBSQLite", package: "GRDB.swift"),
            ],
            swiftSettings: strict),
        .testTarget(
            name: "ClusterConfigurationTests", dependencies: ["ClusterModel", "ClusterConfiguration"],
            swiftSettings: strict),
        .testTarget(
            name: "OCRTests",
            dependencies: [
                "ClusterModel", "OCR", "PageFiles", "bare-loop", .product(name: "Crypto", package: "swift-crypto"),
            ],
            swiftSettings: strict),
        .testTarget(
            name: "WorkerPoolTests", dependencies: ["ClusterModel", "WorkerPool", "worker-fixture"],
            swiftSettings: strict),
        .testTarget(
            name: "WireTests",
            dependencies: [
                "ClusterModel", "Wire", "WireDecoders",
                .product(name: "Crypto", package: "swift-crypto"),
                .product(name: "GRPCCore", package: "grpc-swift-2"),
                .product(name: "SwiftProtobuf", package: "swift-protobuf"),
            ],
            swiftSettings: strict),
        .testTarget(
            name: "ImageSourcesTests",
            dependencies: ["CMemoryFile", "ClusterModel", "ImageSources"],
            swiftSettings: strict),
        .testTarget(
            name: "ObjectStorageTests",
            dependencies: [
                "ClusterModel", "ObjectStorage", .product(name: "NIOHTTP1", package: "swift-nio"),
            ],
            swiftSettings: strict),
        .testTarget(name: "SubmissionTests", dependencies: ["ClusterModel", "Submission"], swiftSettings: strict),
        .testTarget(
            name: "ResultsTests",
            dependencies: ["ClusterModel", "Results", "Wire", .product(name: "GRDB", package: "GRDB.swift")],
            swiftSettings: strict),
        .testTarget(
            name: "NodeTests",
            dependencies: [
                "CloudMetadata", "ClusterModel", "ClusterConfiguration", "ImageSources", "Membership",
                "MetadataFixture", "NodeRuntime", "ObjectStorage", "PageFiles", "Results", "Transport", "Wire",
                "bare-loop", "bench-cluster", "node",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            swiftSettings: strict),
        .testTarget(name: "TidyTests", dependencies: ["ClusterModel"], swiftSettings: strict),
    ]
)

// The fuzzer's program has no `main` of its own: only `scripts/fuzz.sh` builds it, with libFuzzer's.
if Context.environment["OCR_FUZZ"] != nil {
    package.targets.append(
        .executableTarget(
            name: "fuzz-wire", dependencies: ["ClusterModel", "WireDecoders"], path: "Fuzz/fuzz-wire",
            swiftSettings: strict))
}
