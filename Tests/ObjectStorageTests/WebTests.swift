// A file on a web server.

import ClusterModel
import NIOHTTP1
import Testing

@testable import ObjectStorage

@Suite("A file on a web server")
struct WebTests {
    private let bytes = pattern(100_000)

    private func failure(
        _ source: String, options: StoreClientOptions = Store.options()
    ) async throws -> Failure? {
        await Store.failure(stores(options), source)
    }

    private func stores(_ options: StoreClientOptions = Store.options()) -> RemoteStores {
        RemoteStores(StoreClient(options), addressing: S3Addressing(), credentials: StaticCredentials(nil))
    }

    @Test("is read as it is, with and without a length")
    func plain() async throws {
        let server = try ScriptedServer { [bytes] request, _ in
            var reply = ScriptedServer.Reply(body: bytes)
            if request.path == "/unknown" { reply.length = nil }
            return reply
        }
        #expect(try await Store.read(stores(), server.address + "/a b%20ü.png?x=1&y=\"#part") == bytes)
        #expect(try await Store.read(stores(), server.address + "/unknown") == bytes)
        #expect(try await Store.read(stores(), server.address) == bytes)
        #expect(server.requests.map(\.target) == ["/a%20b%20%C3%BC.png?x=1&y=%22", "/unknown", "/"])
        #expect(server.requests.first?.headers["authorization"] == nil)
    }

    @Test("is found over redirects, as many as are allowed")
    func redirects() async throws {
        let server = try ScriptedServer { [bytes] request, _ in
            let step = Int(request.path.split(separator: "/").last ?? "") ?? 0
            let places = ["/x/1", "2", "//\(request.headers["host"] ?? "")/y/3?q=1", "?q=2"]
            if request.query["q"] == "2" { return .init(body: bytes) }
            return .init([301, 302, 307, 308][step % 4], [("Location", places[step % 4])])
        }
        #expect(try await Store.read(stores(), server.address + "/0") == bytes)
        #expect(server.requests.map(\.target) == ["/0", "/x/1", "/x/2", "/y/3?q=1", "/y/3?q=2"])
        var options = Store.options()
        options.maximumRedirects = 2
        #expect(
            try await failure(server.address + "/0", options: options)
                == Failure(
                    .sourceUnreadable,
                    "\(server.address)/0: more than 2 redirects (max_redirects), the last to "
                        + "//127.0.0.1:\(server.port)/y/3?q=1"))
    }

    @Test("is not followed to where it must not be")
    func badRedirects() async throws {
        let server = try ScriptedServer { request, _ in
            switch request.path {
            case "/ftp": .init(302, [("Location", "ftp://h/a")])
            case "/file": .init(302, [("Location", "file:///etc/passwd")])
            default: .init(302)
            }
        }
        #expect(
            try await failure(server.address + "/ftp")?.detail
                == "\(server.address)/ftp: a redirect to ftp://h/a, which is no URL of a web server")
        #expect(
            try await failure(server.address + "/file")?.detail
                == "\(server.address)/file: a redirect to file:///etc/passwd, which is no URL of a web server")
        #expect(
            try await failure(server.address + "/none")?.detail
                == "\(server.address)/none: a redirect (302) that leads nowhere")
    }

    @Test("is never fetched in the clear after https")
    func downgrade() throws {
        let url = try #require(WebURL("https://host/a/b"))
        #expect(url.resolving("http://host/c")?.text == "http://host/c")
        let request = WebRequest(url, name: "https://host/a/b", maximumRedirects: 5)
        guard case .fail(let error) = request.verdict(status: 302, headers: ["Location": "http://host/c"], body: [])
        else {
            Issue.record("the redirect was followed")
            return
        }
        #expect(
            error.text
                == "https://host/a/b: a redirect from https to http://host/c, which is not encrypted, is not followed")
        guard case .elsewhere = request.verdict(status: 302, headers: ["Location": "HTTPS://other/c"], body: []) else {
            Issue.record("a redirect to another host is followed")
            return
        }
    }

    @Test(
        "that is not given says why",
        arguments: [
            (404, Failure.Code.objectMissing, "there is no such file (status 404)"),
            (410, .objectMissing, "there is no such file (status 410)"),
            (403, .sourceUnreadable, "access is denied (status 403): the server must give it without a password"),
            (418, .sourceUnreadable, "status 418"),
        ])
    func refusals(status: Int, code: Failure.Code, text: String) async throws {
        let server = try ScriptedServer { _, _ in .init(status) }
        #expect(try await failure(server.address + "/a") == Failure(code, "\(server.address)/a: \(text)"))
        #expect(server.requests.count == 1)
    }

    @Test("whose transfer breaks off is resumed where its server can, else is an error of its own")
    func resumes() async throws {
        let server = try ScriptedServer { [bytes] request, number in
            Store.part(request, of: bytes, ending: number == 1 ? .stall(after: 30_000) : .whole)
        }
        let options = Store.options(stall: .seconds(1))
        #expect(try await Store.read(stores(options), server.address + "/a") == bytes)
        #expect(server.requests.count == 2 && (1...30_000).contains(server.requests[1].offset))
        #expect(server.requests.last?.headers["if-range"] == "\"1\"")
        for headers in [[], [("ETag", "W/\"1\""), ("Accept-Ranges", "bytes")], [("ETag", "\"1\"")]] {
            let other = try ScriptedServer { [bytes] _, _ in
                .init(200, headers, body: bytes, ending: .stall(after: 500))
            }
            #expect(
                try await failure(other.address + "/a", options: options)
                    == Failure(
                        .sourceUnreadable,
                        "\(other.address)/a: nothing came for too long after 500 bytes, and its server offers no way to go "
                            + "on there"))
        }
    }

    @Test("that comes whole again after a break is taken up at the right byte")
    func ignoresRange() async throws {
        let server = try ScriptedServer { [bytes] _, number in
            .init(
                200, [("ETag", "\"1\""), ("Accept-Ranges", "bytes")], body: bytes,
                ending: number == 1 ? .stall(after: 30_000) : .whole)
        }
        let options = Store.options(stall: .seconds(1))
        #expect(try await Store.read(stores(options), server.address + "/a") == bytes)
        #expect(server.requests.count == 2)
    }

    @Test("is asked for politely: no more than so many requests to one host at once")
    func perHost() async throws {
        let server = try ScriptedServer { [bytes] _, _ in .init(body: bytes) }
        var options = Store.options()
        options.perHostCount = 3
        let shared = stores(options)
        await withTaskGroup(of: Bool.self) { group in
            for number in 0..<20 {
                group.addTask { [bytes] in (try? await Store.read(shared, "\(server.address)/\(number)")) == bytes }
            }
            for await isRight in group { #expect(isRight) }
        }
        #expect(server.requests.count == 20 && server.mostRunning <= 3)
    }

    @Test(
        "without a host, or of no known scheme, is refused",
        arguments: ["http://", "http:///a", "https://h:0/a", "ftp://h/a"])
    func noURL(text: String) async throws {
        #expect(try await failure(text)?.code == .sourceUnreadable)
    }
}
