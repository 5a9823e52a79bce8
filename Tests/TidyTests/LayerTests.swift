// Which target may import what: ARCHITECTURE.md has the reasons.

import Testing

@Suite struct LayerTests {
    /// The cores: synchronous values without I/O, clocks or chance of their own.
    private static let cores: Set<String> = ["ClusterModel", "Membership", "Coordination"]

    /// Own targets that a target may import. A new target is added here with the layer it stands on.
    private static let layers: [String: Set<String>] = [
        "ClusterModel": [],
        "CMemoryFile": [],
        "CInflate": [],
        "CFolderSync": [],
        "CQpdf": [],
        "CZstandard": [],
        "Wire": ["CZstandard", "ClusterModel"],
        "Membership": ["ClusterModel"],
        "Coordination": ["ClusterModel"],
        "Simulator": ["ClusterModel", "Membership", "Coordination", "Ledger"],
        "simulate": ["ClusterModel", "Membership", "Coordination", "Simulator"],
        "Transport": ["ClusterModel", "Wire"],
        "Ledger": ["ClusterModel"],
        "OCR": ["ClusterModel", "CTesseract"],
        "WorkerPool": ["ClusterModel", "CWorkerSandbox"],
        "CloudMetadata": ["ClusterModel"],
        "ObjectStorage": ["ClusterModel", "CloudMetadata"],
        "ImageSources": ["ClusterModel", "CMemoryFile"],
        "Submission": ["CFolderFacts", "CInflate", "ClusterModel"],
        "Results": ["CFolderSync", "CQpdf", "CZstandard", "ClusterModel", "Ledger", "Wire"],
        "ClusterConfiguration": ["ClusterModel"],
        "NodeRuntime": [
            "ClusterModel", "Wire", "Membership", "Coordination", "Ledger", "OCR", "CTesseract", "WorkerPool",
            "ImageSources", "ObjectStorage", "Submission", "Results", "ClusterConfiguration", "Transport",
            "CloudMetadata",
        ],
        "node": [
            "ClusterModel", "Wire", "Membership", "Transport", "Coordination", "Ledger", "OCR", "WorkerPool",
            "CWorkerSandbox", "CloudMetadata", "ImageSources", "ObjectStorage",
            "Submission", "Results", "ClusterConfiguration", "NodeRuntime",
        ],
    ]

    /// Packages that are the business of a few targets only.
    private static let reserved: [String: Set<String>] = [
        "TOMLKit": ["ClusterConfiguration"],
        "AsyncHTTPClient": ["CloudMetadata", "ObjectStorage"],
        "ArgumentParser": ["node", "simulate"],
        "GRDB": ["Ledger", "Results"],
        "GRDBSQLite": ["Ledger", "Results"],
    ]

    /// The modules that a file imports, with the line of each.
    private static func imports(of file: SourceTree.File) -> [(line: Int, module: String)] {
        let pattern =
            #/^\s*(?:@\w+(?:\([^)]*\))?\s+)*(?:(?:package|public|internal|private|fileprivate)\s+)?import\s+(?:(?:struct|class|enum|protocol|func|var|let|typealias)\s+)?(\w+)/#
        return file.code.enumerated().compactMap { number, line in
            line.firstMatch(of: pattern).map { (number + 1, String($0.output.1)) }
        }
    }

    @Test func `a target imports only what stands below it`() throws {
        for file in try SourceTree.swift() {
            guard let allowed = Self.layers[file.target] else {
                Issue.record("\(file.path): the target \(file.target) has no layer; add it to the table of this test")
                continue
            }
            for (line, module) in Self.imports(of: file) {
                if Self.layers[module] != nil || module.hasPrefix("CTesseract") || module.hasPrefix("CWorker") {
                    #expect(allowed.contains(module), "\(file.path):\(line): \(file.target) imports \(module)")
                }
                if let owners = Self.reserved[module] {
                    #expect(owners.contains(file.target), "\(file.path):\(line): \(file.target) imports \(module)")
                }
            }
        }
    }

    @Test func `the cores import nothing but the standard library and each other`() throws {
        for file in try SourceTree.swift() where Self.cores.contains(file.target) {
            for (line, module) in Self.imports(of: file) {
                #expect(Self.cores.contains(module), "\(file.path):\(line): imports \(module)")
            }
        }
    }

    @Test func `the cores have no time, no chance and no concurrency of their own`() throws {
        let forbidden =
            #/\b(?:Task|async|await|actor|ContinuousClock|SuspendingClock|SystemRandomNumberGenerator|Hasher)\b/#
        let chance = #/\.(?:random|randomElement|shuffle|shuffled)\(/#
        for file in try SourceTree.swift() where Self.cores.contains(file.target) {
            for (number, line) in file.code.enumerated() {
                #expect(line.firstMatch(of: forbidden) == nil, "\(file.path):\(number + 1): \(line)")
                if line.contains(chance) {
                    #expect(line.contains("using:"), "\(file.path):\(number + 1): chance without a generator")
                }
            }
        }
    }

    @Test func `this test finds the sources it speaks of`() throws {
        let targets = Set(try SourceTree.swift().map(\.target))
        #expect(targets.isSuperset(of: ["ClusterModel", "ClusterConfiguration"]))
        let model = try #require(try SourceTree.swift().first { $0.path.hasSuffix("NodeConfiguration+Loading.swift") })
        #expect(Self.imports(of: model).map(\.module) == ["ClusterModel", "Glibc", "TOMLKit"])
    }
}
