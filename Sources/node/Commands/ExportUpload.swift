// An export that goes to a store: in parts, as its bytes come.

import ArgumentParser
internal import ClusterConfiguration
internal import ClusterModel
import Foundation
internal import ObjectStorage
internal import Results
internal import Submission

extension ExportCommand {
    /// Writes the export as an object, manifest and failures as objects beside it. Returns how many jobs are not done.
    func upload(_ asked: ExportPlan, to text: String) async throws -> UInt64 {
        let source = SourceReference(bytes: RawArguments.process.bytes(of: text))
        guard let location = S3Location(source), !location.key.isEmpty, location.key.last != UInt8(ascii: "/") else {
            throw CommandFailure("\(source.text) names no object", hint: "s3://bucket/key is expected", exitCode: 64)
        }
        let stores = try StoreAccess.stores(try NodeConfiguration.found(flag: client.config))
        let scratch = try ScratchFolder()
        var plan = asked
        plan.isResumable = false
        plan.givenName = Array(location.key.split(separator: UInt8(ascii: "/")).last ?? [])
        let missing: UInt64
        do {
            if unpacked {
                plan.path = scratch.path + Array("/tree".utf8)
                missing = try await transfer(plan)
                try await Self.put(folder: plan.path ?? [], stores.s3, location)
                return missing
            }
            try await Self.removeLeftovers(stores.s3, location)
            plan.manifestPath = scratch.path + Array("/manifest".utf8)
            plan.failuresPath = scratch.path + Array("/failures".utf8)
            if plan.format == .sqlite {
                plan.path = scratch.path + Array("/database".utf8)
                missing = try await transfer(plan)
                try await Self.send(file: plan.path ?? [], GrowingObject(stores.s3, location))
                plan.manifestPath = scratch.path + Array("/database.manifest.json".utf8)
                plan.failuresPath = scratch.path + Array("/database.failures.jsonl".utf8)
            } else {
                missing = try await stream(plan, GrowingObject(stores.s3, location))
            }
            for (ending, path) in [(".failures.jsonl", plan.failuresPath), (".manifest.json", plan.manifestPath)] {
                let beside = S3Location(bucket: location.bucket, key: location.key + Array(ending.utf8))
                try await Self.send(file: path ?? [], GrowingObject(stores.s3, beside))
            }
        } catch let error as StoreError {
            throw CommandFailure(error.text, hint: "mend it and repeat the command; it begins anew")
        }
        return missing
    }

    /// Sends the bytes as they come: a part of them, and a row, are in memory.
    private func stream(_ plan: ExportPlan, _ object: GrowingObject) async throws -> UInt64 {
        let buffer = BufferedOutput()
        do {
            let missing = try await transfer(plan, output: buffer) {
                while buffer.bytes.count >= object.partByteCount {
                    try await object.append(buffer.take(object.partByteCount))
                }
            }
            try await object.finish(buffer.take(buffer.bytes.count))
            return missing
        } catch {
            await Self.giveUp(object)
            throw error
        }
    }

    private static func send(file path: [UInt8], _ object: GrowingObject) async throws {
        guard let file = InputFile(path) else { throw CommandFailure("what was exported cannot be read") }
        do {
            while true {
                let size = object.partByteCount
                let piece = try file.read(size)
                guard piece.count == size else { return try await object.finish(piece) }
                try await object.append(piece)
            }
        } catch {
            await giveUp(object)
            throw error
        }
    }

    private static func giveUp(_ object: GrowingObject) async {
        do throws(StoreError) {
            try await object.abandon()
        } catch {
            Output.message("note: parts that were sent are still in the store: \(error.text)")
        }
    }

    /// Parts of an earlier export that was killed cost money, and would stay for ever.
    private static func removeLeftovers(_ s3: S3Client, _ location: S3Location) async throws(StoreError) {
        do throws(StoreError) {
            for upload in try await s3.openUploads(location) {
                try await s3.abortUpload(location, upload: upload)
                Output.message("note: an interrupted upload to the same key was removed; the export begins anew")
            }
        } catch  where error.kind == .denied {
            Output.message("note: interrupted uploads to the same key cannot be looked for (\(error.text))")
        }
    }

    /// Files that are sent at the same time.
    private static let width = 8

    /// Sends every file of a folder, its manifest last.
    private static func put(folder: [UInt8], _ s3: S3Client, _ location: S3Location) async throws {
        let names = FolderFiles(folder)
        let manifest = Array("manifest.json".utf8)
        try await withThrowingTaskGroup(of: Void.self) { group in
            var running = 0
            while let name = names.next() {
                if name == manifest { continue }
                if running == width {
                    try await group.next()
                    running -= 1
                }
                running += 1
                group.addTask { try await send(file: folder + [UInt8(ascii: "/")] + name, object(s3, location, name)) }
            }
            try await group.waitForAll()
        }
        try await send(file: folder + [UInt8(ascii: "/")] + manifest, object(s3, location, manifest))
    }

    private static func object(_ s3: S3Client, _ location: S3Location, _ name: [UInt8]) -> GrowingObject {
        GrowingObject(s3, S3Location(bucket: location.bucket, key: location.key + [UInt8(ascii: "/")] + name))
    }
}
