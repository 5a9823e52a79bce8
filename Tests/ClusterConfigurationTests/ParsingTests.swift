import ClusterModel
import ClusterConfiguration
import Testing

/// The error of a file named cluster.conf with this text; nil when it is accepted.
func refusal(_ text: String) -> ConfigurationError? {
    do {
        _ = try NodeConfiguration.parse(bytes: Array(text.utf8), path: "cluster.conf")
        return nil
    } catch {
        return error
    }
}

private func parsed(_ text: String) throws -> NodeConfiguration {
    try NodeConfiguration.parse(bytes: Array(text.utf8), path: "cluster.conf")
}

@Suite struct ParsingTests {
    @Test func `takes a cloud and the address of its metadata service, and nothing that only looks like one`() throws {
        let cloud = try parsed(
            """
            [cloud]
            provider = "gcp"
            metadata_endpoint = "http://[::1]:8080"
            poll = "500ms"
            margin = "0s"
            """
        ).cloud
        #expect(cloud.provider == .gcp && cloud.metadataEndpoint == "http://[::1]:8080")
        #expect(cloud.poll == .milliseconds(500) && cloud.margin == .zero)
        for line in [
            "provider = \"aws\"", "provider = 1", "metadata_endpoint = \"169.254.169.254\"",
            "metadata_endpoint = \"https://169.254.169.254\"", "metadata_endpoint = \"http://::1\"",
            "metadata_endpoint = \"http://a/latest\"", "metadata_endpoint = \"http://u@a\"", "poll = \"1ms\"",
            "margin = \"2h\"",
        ] { #expect(refusal("[cloud]\n" + line)?.line == 2, "\(line)") }
        #expect(refusal("[cloud]\nprovider = \"aws\"")?.message.contains("\"ec2\"") == true)
    }

    @Test func `an empty file gives the defaults`() throws {
        #expect(try parsed("") == NodeConfiguration())
        #expect(try parsed("# nothing\n\n[work]\n") == NodeConfiguration())
    }

    @Test func `sets each key that is given and leaves the others`() throws {
        var expected = NodeConfiguration()
        expected.dataDirectory = "/var/lib/ocr"
        expected.name = "scanner-1"
        expected.cluster.name = "archive"
        expected.cluster.shardCount = 64
        expected.cluster.replicaCount = 2
        expected.work.workerCount = 4
        expected.work.retryBackoff = .milliseconds(500)
        expected.work.retryBackoffMax = .seconds(120)
        expected.work.reuse = .off
        expected.limits.maxPixels = 5_000_000
        expected.limits.maxByteCount = 64 << 20
        expected.limits.pageTimeout = .seconds(3_600)
        expected.worker.sandbox = .off
        expected.worker.memoryByteCount = 2 << 30
        expected.ocr.language = "deu+eng"
        expected.ocr.pageSegmentationMode = 6
        expected.ocr.dpi = 300
        expected.log.level = .debug
        expected.listen.address = "[::1]:7400"
        let text = """
            data_dir = "/var/lib/ocr"
            name = 'scanner-1'
            work.workers = 4   # dotted
            work.retry_backoff = "500ms"
            work.retry_backoff_max = "2m"
            work.reuse = "off"
            worker = { sandbox = "off", memory = "2GiB" }
            [cluster]
            name = "archive"
            shards = 0x40
            replicas = 2
            [limits]
            max_pixels = 5_000_000
            max_bytes = "65536KiB"
            page_timeout = "1h"
            [ocr]
            language = "deu+eng"
            psm = 6
            dpi = 300
            [log]
            level = "debug"
            [listen]
            address = "[::1]:7400"
            """
        #expect(try parsed(text) == expected)
    }

    @Test func `derives the profile, the shard layout and the worker count`() throws {
        let configuration = try parsed("ocr = { psm = 4, dpi = 200 }\ncluster.shards = 65536\nwork.workers = 3")
        #expect(configuration.profile == Profile(pageSegmentationMode: 4, dpi: 200))
        #expect(configuration.shardLayout == ShardLayout(exponent: 16))
        #expect(configuration.workerCount(cores: 8) == 3)
        let standard = NodeConfiguration()
        #expect(standard.profile == .standard)
        #expect(standard.shardLayout == .standard)
        #expect(standard.workerCount(cores: 8) == 8)
        #expect(standard.workerCount(cores: 0) == 1)
        #expect(standard.workerCount(cores: 5_000) == Limits.workerCount)
    }

    @Test(arguments: [
        ("[limits]\nmax_pixels = 0", "cluster.conf:2: [limits] max_pixels: is 0; expected 10000...2000000000"),
        (
            "\n\n[limits]\n\nmax_pixels = \"many\"",
            "cluster.conf:5: [limits] max_pixels: is a text; expected an integer, 10000...2000000000"
        ),
        ("[cluster]\nshards = 1000", "cluster.conf:2: [cluster] shards: is 1000; expected a power of two, 1...65536"),
        ("cluster.shards = -1024", "cluster.conf:1: [cluster] shards: is -1024; expected a power of two, 1...65536"),
        ("cluster = { replicas = 8 }", "cluster.conf:1: [cluster] replicas: is 8; expected 1...7"),
        ("[worker]\nsandbox = \"maybe\"", "cluster.conf:2: [worker] sandbox: is \"maybe\"; expected \"on\" or \"off\""),
        ("[worker]\nsandbox = true", "cluster.conf:2: [worker] sandbox: is true or false; expected \"on\" or \"off\""),
        ("[ocr]\npsm = 0", "cluster.conf:2: [ocr] psm: is 0; expected 1 or 3...13"),
        ("[ocr]\npsm = 2", "cluster.conf:2: [ocr] psm: is 2; expected 1 or 3...13"),
        ("[ocr]\ndpi = 20", "cluster.conf:2: [ocr] dpi: is 20; expected 0 or 70...2400"),
        ("data_dir = \"\"", "cluster.conf:1: data_dir: is \"\"; expected a path"),
        ("work = 3", "cluster.conf:1: [work]: is an integer; expected a table of keys"),
        ("[[work]]\nworkers = 1", "cluster.conf:1: [work]: is an array; expected a table of keys"),
        (
            "[work]\nretry_backoff = \"2m\"",
            "cluster.conf:1: [work] retry_backoff_max: is \"60s\"; expected at least retry_backoff (\"120s\")"
        ),
        (
            "[worker]\nmemory = \"1GiB\"\nrecycle_rss = \"2GiB\"",
            "cluster.conf:3: [worker] recycle_rss: is \"2GiB\"; expected at most memory (\"1GiB\")"
        ),
    ])
    func `a wrong value is refused with file, line, key and what was expected`(text: String, message: String) {
        #expect(refusal(text)?.message == message)
    }

    @Test(arguments: [
        ("[limits]\nmax_pixel = 1", "cluster.conf:2: [limits] max_pixel: unknown key", "did you mean max_pixels?"),
        (
            "[work]\nmax_pixels = 1", "cluster.conf:2: [work] max_pixels: unknown key",
            "max_pixels belongs under [limits]"
        ),
        ("[work]\ndata_dir = 1", "cluster.conf:2: [work] data_dir: unknown key", "data_dir belongs above all tables"),
        ("worker_ = 1", "cluster.conf:1: worker_: unknown key", "did you mean [work] workers?"),
        ("\n[limit]\nmax_pixels = 1", "cluster.conf:2: [limit]: unknown table", "did you mean [limits]?"),
        (
            "[zebra]", "cluster.conf:1: [zebra]: unknown table",
            "the tables are cloud, cluster, http, limits, listen, log, membership, ocr, s3, storage, work, worker"
        ),
        ("zebra = 1", "cluster.conf:1: zebra: unknown key", "cluster.conf.example explains every key"),
    ])
    func `an unknown name is refused with the nearest known one`(text: String, message: String, hint: String) {
        #expect(refusal(text)?.message == message)
        #expect(refusal(text)?.hint == hint)
    }

    @Test(arguments: [
        "180", "s", "", "-1s", "1.5s", "1 s", "2d", "99999999999999999999s", "9223372036854775807h", "0s",
    ])
    func `a text that is no allowed duration is refused`(text: String) {
        let error = refusal("[limits]\npage_timeout = \"\(text)\"")
        #expect(error?.line == 2)
        #expect(error?.key == "[limits] page_timeout")
        #expect(error?.expected == "a duration such as \"500ms\", \"180s\" or \"2m\", \"1s\" to \"24h\"")
    }

    @Test(arguments: ["256", "MiB", "", "-1MiB", "1.5GiB", "256 MiB", "256MB", "9223372036854775807GiB", "1B", "5GiB"])
    func `a text that is no allowed size is refused`(text: String) {
        let error = refusal("[limits]\nmax_bytes = \"\(text)\"")
        #expect(error?.line == 2)
        #expect(error?.key == "[limits] max_bytes")
        #expect(error?.expected == "a size such as \"256MiB\", \"1KiB\" to \"4GiB\"")
    }

    @Test(arguments: ["no port", "host:", "host:0", "host:65536", ":7400", "::1:7400", "[]:1", "a b:7400", "host:+1"])
    func `a text that is no address is refused`(text: String) {
        #expect(refusal("[listen]\naddress = \"\(text)\"")?.key == "[listen] address")
    }

    @Test(arguments: ["", "deu+", "../eng", "eng+eng", "a b"])
    func `a text that names no languages is refused`(text: String) {
        #expect(refusal("[ocr]\nlanguage = \"\(text)\"")?.key == "[ocr] language")
    }

    @Test func `a label takes letters, digits and a few marks, ASCII only`() {
        #expect(refusal("name = \"Scan_1.a-b\"") == nil)
        #expect(refusal("name = \"a b\"")?.key == "name")
        #expect(refusal("name = \"m\u{00FC}ller\"")?.key == "name")
        #expect(refusal("name = \"\(String(repeating: "x", count: 64))\"")?.key == "name")
    }

    @Test func `durations and sizes come back as they are written`() {
        for text in ["1ms", "1500ms", "1s", "180s", "999s", "24h", "1001s", "17m"] {
            #expect(Quantity.duration(text).map { Quantity.text($0) } == text)
        }
        for text in ["0B", "1B", "1023B", "1KiB", "1536MiB", "4GiB", "1TiB"] {
            #expect(Quantity.byteCount(text).map { Quantity.text(byteCount: $0) } == text)
        }
    }
}
