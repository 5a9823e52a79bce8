// `node export` as a user has it, and to a store.

import ClusterModel
import Foundation
import Glibc
import ObjectStorage
import Testing

@Suite(.serialized)
struct ExportTests {
    private static let images = Places.repository + "/Tests/Fixtures/images"

    /// A node with a finished batch: an image, and a file that is none.
    private func node(_ environment: [String: String] = [:]) throws -> RunningNode {
        let node = try RunningNode(environment: environment)
        let folder = node.directory + "/in"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        try FileManager.default.copyItem(
            atPath: Places.repository + "/Samples/zxx_blank.tif", toPath: folder + "/a.tif")
        try "no image".write(toFile: folder + "/b.png", atomically: true, encoding: .utf8)
        #expect(node.command("submit", folder, "--batch", "b").exitCode == 0)
        #expect(node.command("wait", "--batch", "b", "--timeout", "60s").exitCode == 1)
        return node
    }

    private func json(_ path: String) throws -> [String: Any] {
        let data = try #require(FileManager.default.contents(atPath: path), "\(path)")
        return try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
    }

    @Test func `an export says what is in it, and what failed can be submitted`() throws {
        let node = try node()
        let path = node.directory + "/x.jsonl.zst"
        let export = ["export", "--batch", "b", "-o", path]
        // One job failed: the export is whole, and says so.
        #expect(node.command(export).exitCode == 2)
        let first = FileManager.default.contents(atPath: path)
        let manifest = try json(path + ".manifest.json")
        #expect(
            manifest["counts"] as? [String: Int] == [
                "total": 2, "done": 1, "reused": 0, "failed": 1, "cancelled": 0, "pending": 0,
            ])
        #expect(manifest["complete"] as? Bool == true && manifest["compression"] as? String == "zstd")
        #expect(node.command(export).exitCode == 2)
        #expect(FileManager.default.contents(atPath: path) == first)
        let again = node.command("submit", "--manifest", path + ".failures.jsonl", "--batch", "again", "--json")
        #expect(again.json["new"] as? Int == 1, "\(again.errors)")
        let stream = node.command(
            "export", "--batch", "b", "--manifest", node.directory + "/m.json", "--failures",
            node.directory + "/f.jsonl")
        #expect(stream.lines.count == 2)
        #expect((try json(node.directory + "/m.json")["counts"] as? [String: Int])?["total"] == 2)
        #expect(try json(node.directory + "/f.jsonl")["outcome"] as? String == "failed")
    }

    @Test func `an export of what the batch has not is refused, with what it has`() throws {
        let node = try node()
        let path = node.directory + "/tree"
        let refused = node.command("export", "--batch", "b", "--format", "hocr", "-o", path)
        #expect(refused.exitCode == 3)
        #expect(refused.errors.contains("the batch b has no hocr: its results have text"), "\(refused.errors)")
        #expect(access(path, F_OK) != 0 && access(path + ".partial", F_OK) != 0)
        #expect(node.command("export", "--batch", "b", "--format", "text").exitCode == 64)
        #expect(node.command("export", "--batch", "b", "--index", "x").exitCode == 64)
    }

    @Test(.enabled(if: MotoServer.isInstalled, "moto_server and aws are not installed"))
    func `an export to a store is what it is to a path`() throws {
        let moto = try MotoServer(checksSignatures: true)
        try moto.aws("s3", "mb", "s3://out")
        let node = try node(moto.environment)
        func fetched(_ key: String) throws -> Data? {
            let target = node.directory + "/fetched"
            try moto.aws("s3", "cp", "--quiet", "s3://out/" + key, target)
            return FileManager.default.contents(atPath: target)
        }
        // What a killed export left.
        try moto.aws("s3api", "create-multipart-upload", "--bucket", "out", "--key", "x.jsonl")
        let export = node.command("export", "--batch", "b", "-o", "s3://out/x.jsonl")
        #expect(export.exitCode == 2, "\(export.errors)")
        #expect(export.errors.contains("an interrupted upload to the same key was removed"), "\(export.errors)")
        #expect(!(try moto.aws("s3api", "list-multipart-uploads", "--bucket", "out").contains("UploadId")))
        #expect(node.command("export", "--batch", "b", "-o", node.directory + "/x.jsonl").exitCode == 2)
        for ending in ["", ".manifest.json", ".failures.jsonl"] {
            #expect(
                try fetched("x.jsonl" + ending)
                    == FileManager.default.contents(atPath: node.directory + "/x.jsonl" + ending), "\(ending)")
        }
        #expect(node.command("export", "--batch", "b", "--format", "text", "-o", "s3://out/t.tar").exitCode == 2)
        #expect(
            node.command("export", "--batch", "b", "--format", "text", "-o", node.directory + "/t.tar").exitCode == 2)
        #expect(try fetched("t.tar") == FileManager.default.contents(atPath: node.directory + "/t.tar"))
        #expect(
            node.command("export", "--batch", "b", "--format", "text", "-o", "s3://out/t", "--unpacked").exitCode == 2)
        let keys = try moto.aws("s3", "ls", "--recursive", "s3://out").split(separator: "\n").map {
            $0.split(separator: " ").last.map(String.init) ?? ""
        }
        // With a prefix moto computes another signature than the command.
        #expect(
            keys.filter { $0.hasPrefix("t/") } == [
                "t/a.tif.txt", "t/failures.jsonl", "t/index.jsonl", "t/manifest.json",
            ])
        #expect(node.command("export", "--batch", "b", "--format", "sqlite", "-o", "s3://out/d").exitCode == 2)
        #expect(
            node.command("export", "--batch", "b", "--format", "sqlite", "-o", node.directory + "/d").exitCode == 2)
        #expect(try fetched("d") == FileManager.default.contents(atPath: node.directory + "/d"))
        let lost = node.command("export", "--batch", "b", "-o", "s3://nowhere/x.jsonl")
        #expect(lost.exitCode == 1 && lost.errors.contains("there is no bucket nowhere"), "\(lost.errors)")
    }

    @Test(.enabled(if: MotoServer.isInstalled, "moto_server and aws are not installed"))
    func `an object that grows is sent in parts, and leaves none when it is given up`() async throws {
        let moto = try MotoServer(checksSignatures: true)
        try moto.aws("s3", "mb", "s3://out")
        let credentials = Credentials(
            accessKeyID: moto.environment["AWS_ACCESS_KEY_ID"] ?? "",
            secretAccessKey: moto.environment["AWS_SECRET_ACCESS_KEY"] ?? "")
        let client = StoreClient()
        let s3 = S3Client(
            client, addressing: S3Addressing(endpoint: StoreURL(moto.address)),
            credentials: StaticCredentials(credentials))
        let object = GrowingObject(s3, S3Location(bucket: "out", key: Array("grown".utf8)))
        let part = (0..<object.partByteCount).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 9) }
        for _ in 0..<2 { try await object.append(part) }
        try await object.finish([1, 2, 3])
        let target = moto.directory + "/grown"
        try moto.aws("s3", "cp", "--quiet", "s3://out/grown", target)
        #expect(FileManager.default.contents(atPath: target) == Data(part + part + [1, 2, 3]))
        #expect(moto.requests.count { $0.contains("partNumber=") } == 3)

        let place = S3Location(bucket: "out", key: Array("left".utf8))
        let left = GrowingObject(s3, place)
        try await left.append(part)
        #expect(try await s3.openUploads(place).count == 1)
        #expect(try await s3.openUploads(S3Location(bucket: "out", key: Array("lef".utf8))).isEmpty)
        try await left.abandon()
        #expect(try await s3.openUploads(place).isEmpty)
        #expect(!(try moto.aws("s3", "ls", "--recursive", "s3://out").contains("left")))
        try await client.shutDown()
    }
}
