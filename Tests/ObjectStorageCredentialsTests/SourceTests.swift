// Each place where credentials may be, alone.

import CloudMetadata
import Foundation
import MetadataFixture
import ObjectStorage
import Testing

@Suite struct EnvironmentTests {
    @Test func `keys of the environment, with and without a session`() async throws {
        let scratch = try Scratch()
        var variables = ["AWS_ACCESS_KEY_ID": "AKIA1", "AWS_SECRET_ACCESS_KEY": "s"]
        #expect(
            try await EnvironmentCredentials(scratch.context(variables)).load()
                == Credentials(accessKeyID: "AKIA1", secretAccessKey: "s"))
        variables["AWS_SESSION_TOKEN"] = "t"
        #expect(try await EnvironmentCredentials(scratch.context(variables)).load()?.sessionToken == "t")
        #expect(try await EnvironmentCredentials(scratch.context()).load() == nil)
    }

    @Test(arguments: ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
    func `half a pair is an error that names the other half`(name: String) async throws {
        let scratch = try Scratch()
        let error = await #expect(throws: CredentialError.self) {
            try await EnvironmentCredentials(scratch.context([name: "x9x9"])).load()
        }
        #expect(error?.text.contains("set both or none") == true)
        #expect(error?.text.contains("x9x9") == false)
    }
}

@Suite struct ProfileTests {
    private func load(_ scratch: Scratch, _ environment: [String: String] = [:]) async throws -> Credentials? {
        try await ProfileCredentials(scratch.context(environment)).load()
    }

    @Test func `the credentials file goes before the configuration, and pairs are not mixed`() async throws {
        let scratch = try Scratch()
        try scratch.write(
            ".aws/config",
            """
            [default]
            region = eu-central-1
            aws_access_key_id = OLD
            aws_secret_access_key = old
            aws_session_token = old-session
            s3 =
                addressing_style = path
            [profile  other ]
            aws_access_key_id=OTHER   # a comment
            aws_secret_access_key= a=b/+c
            [services x]
            aws_access_key_id = NO
            """)
        try scratch.write(
            ".aws/credentials",
            "; a comment\n[default]\naws_access_key_id = NEW\r\naws_secret_access_key = new\n[profile z]\nx = y\nnonsense\n"
        )
        #expect(try await load(scratch) == Credentials(accessKeyID: "NEW", secretAccessKey: "new"))
        #expect(
            try await load(scratch, ["AWS_PROFILE": "other"])
                == Credentials(accessKeyID: "OTHER", secretAccessKey: "a=b/+c"))
        let region = try await RegionSearch.region(scratch.context())
        #expect(region == FoundRegion(name: "eu-central-1", source: "profile default"))
    }

    @Test func `files elsewhere are found by their variables`() async throws {
        let scratch = try Scratch()
        let path = try scratch.write("mine", "[p]\naws_access_key_id = A\naws_secret_access_key = b\n")
        let found = try await load(scratch, ["AWS_SHARED_CREDENTIALS_FILE": path, "AWS_PROFILE": "p"])
        #expect(found?.accessKeyID == "A")
    }

    @Test func `no file and no name is nothing, a named profile that is missing is an error with the files`()
        async throws
    {
        let scratch = try Scratch()
        #expect(try await load(scratch) == nil)
        let error = await #expect(throws: CredentialError.self) { try await load(scratch, ["AWS_PROFILE": "gone"]) }
        #expect(error?.text.contains("profile gone") == true)
        #expect(error?.text.contains(scratch.directory + "/.aws/credentials") == true)
    }

    @Test(arguments: [
        ("role_arn = arn:aws:iam::1:role/x\nsource_profile = default", "to be assumed with other credentials"),
        ("sso_session = x", "SSO"), ("aws_access_key_id = A", "without aws_secret_access_key"),
        ("region = eu-west-1", "has no credentials"),
    ])
    func `what a profile cannot do here is said with its cure`(settings: String, message: String) async throws {
        let scratch = try Scratch()
        try scratch.write(".aws/config", "[profile p]\n\(settings)\n")
        let error = await #expect(throws: CredentialError.self) { try await load(scratch, ["AWS_PROFILE": "p"]) }
        #expect(error?.text.contains(message) == true, "\(String(describing: error))")
    }

    @Test(arguments: [
        "[", "[]", "]", "=", "[default", "[default]\n=\n==\n = x\n", "[profile a b c]\nx=y", "\u{0}",
        "[default]\u{2028}x=y",
        String(repeating: "[", count: 10_000),
    ])
    func `a file that makes no sense has no credentials and does no harm`(text: String) async throws {
        let scratch = try Scratch()
        try scratch.write(".aws/config", text)
        try scratch.write(".aws/credentials", text)
        #expect(try await load(scratch) == nil)
    }

    @Test func `a file without end is refused`() async throws {
        let scratch = try Scratch()
        try scratch.write(".aws/config", String(repeating: "x", count: 2 << 20))
        await #expect(throws: CredentialError.self) { try await load(scratch) }
    }
}

@Suite struct ProcessTests {
    private func run(_ command: String, _ scratch: Scratch) async throws -> Credentials? {
        try scratch.write(".aws/config", "[default]\ncredential_process = \(command)\n")
        return try await ProfileCredentials(scratch.context(["OCR_TEST": "yes"])).load()
    }

    @Test func `a program gives credentials that end some time`() async throws {
        let scratch = try Scratch()
        let script = try scratch.write(
            "give",
            #"""
            echo "secret complaint" >&2
            [ "$OCR_TEST" = yes ] || exit 1
            echo '{"Version": 1, "AccessKeyId": "ASIA1", "SecretAccessKey": "s", "SessionToken": "t",'
            echo ' "Expiration": "2023-11-15T13:00:00Z"}'
            """#)
        #expect(
            try await run("/bin/sh '\(script)'", scratch)
                == Credentials(
                    accessKeyID: "ASIA1", secretAccessKey: "s", sessionToken: "t", expirySeconds: 1_700_053_200))
    }

    @Test(arguments: [
        ("exit 7", "failed (exit 7)"), ("echo hello", "not the JSON"), ("true", "not the JSON"),
        (#"echo '{"Version":2,"AccessKeyId":"a","SecretAccessKey":"hush"}'"#, "\"Version\": 1"),
        (#"echo '{"Version":1,"AccessKeyId":"a"}'"#, "no SecretAccessKey"),
        (#"echo '{"Version":1,"AccessKeyId":"a","SecretAccessKey":"hush","Expiration":"soon"}'"#, "is no time"),
        ("yes", "prints more than"), ("/no/such/program", "failed (exit 127)"),
    ])
    func `a program that fails is an error that says how, and nothing of what it printed`(
        command: String, message: String
    ) async throws {
        let scratch = try Scratch()
        let error = await #expect(throws: CredentialError.self) { try await run(command, scratch) }
        #expect(error?.text.contains(message) == true, "\(String(describing: error))")
        #expect(error?.text.contains("hush") == false)
    }
}

@Suite struct WebIdentityTests {
    private static let answer = """
        <AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
          <AssumeRoleWithWebIdentityResult><Credentials>
            <SessionToken>t/+=</SessionToken><SecretAccessKey>s</SecretAccessKey>
            <Expiration>2023-11-15T13:00:00Z</Expiration><AccessKeyId>ASIA2</AccessKeyId>
          </Credentials></AssumeRoleWithWebIdentityResult>
        </AssumeRoleWithWebIdentityResponse>
        """

    private func environment(_ scratch: Scratch, _ endpoint: String) throws -> [String: String] {
        [
            "AWS_WEB_IDENTITY_TOKEN_FILE": try scratch.write("token", "ey.J+/=\n"),
            "AWS_ROLE_ARN": "arn:aws:iam::1:role/ocr", "AWS_ENDPOINT_URL_STS": endpoint,
        ]
    }

    @Test func `a token is exchanged for credentials, in the body of the request alone`() async throws {
        let scratch = try Scratch()
        let fake = try await FakeService { _ in FakeAnswer(200, Self.answer) }
        let context = scratch.context(try environment(scratch, fake.endpoint))
        #expect(
            try await WebIdentityCredentials(context).load()
                == Credentials(
                    accessKeyID: "ASIA2", secretAccessKey: "s", sessionToken: "t/+=", expirySeconds: 1_700_053_200))
        let request = try #require(fake.requests.first)
        #expect(request.method == "POST" && request.target == "/")
        #expect(
            request.body
                == "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Focr"
                + "&RoleSessionName=ocr-cluster&WebIdentityToken=ey.J%2B%2F%3D")
    }

    @Test func `a profile's role with a token file takes the same way`() async throws {
        let scratch = try Scratch()
        let fake = try await FakeService { _ in FakeAnswer(200, Self.answer) }
        let token = try scratch.write("token", "ey")
        try scratch.write(
            ".aws/config",
            "[default]\nrole_arn = r\nrole_session_name = n\nweb_identity_token_file = \(token)\n")
        let context = scratch.context(["AWS_ENDPOINT_URL_STS": fake.endpoint])
        #expect(try await ProfileCredentials(context).load()?.accessKeyID == "ASIA2")
        #expect(fake.requests.first?.body.contains("RoleSessionName=n&") == true)
    }

    @Test func `a refusal is an error with its code, and without the token`() async throws {
        let scratch = try Scratch()
        let fake = try await FakeService { _ in
            FakeAnswer(403, "<ErrorResponse><Error><Code>AccessDenied</Code></Error></ErrorResponse>")
        }
        let context = scratch.context(try environment(scratch, fake.endpoint))
        let error = await #expect(throws: CredentialError.self) { try await WebIdentityCredentials(context).load() }
        #expect(error?.text.contains("403 (AccessDenied)") == true)
        #expect(error?.text.contains("ey.J") == false)
    }

    @Test(arguments: [
        "", "<AccessKeyId>A</AccessKeyId>", "{}", "<SecretAccessKey>", String(repeating: "<", count: 9_999),
    ])
    func `an answer without credentials is an error`(body: String) async throws {
        let scratch = try Scratch()
        let fake = try await FakeService { _ in FakeAnswer(200, body) }
        let context = scratch.context(try environment(scratch, fake.endpoint))
        await #expect(throws: CredentialError.self) { try await WebIdentityCredentials(context).load() }
    }

    @Test func `a token without a role, and a role's token that is not there, are errors`() async throws {
        let scratch = try Scratch()
        for variables in [
            ["AWS_WEB_IDENTITY_TOKEN_FILE": "/x"],
            ["AWS_WEB_IDENTITY_TOKEN_FILE": "/nonexistent", "AWS_ROLE_ARN": "r"],
        ] {
            await #expect(throws: CredentialError.self) {
                try await WebIdentityCredentials(scratch.context(variables)).load()
            }
        }
        #expect(try await WebIdentityCredentials(scratch.context(["AWS_ROLE_ARN": "r"])).load() == nil)
    }
}

@Suite struct ContainerTests {
    static func answer(_ id: String, until expiry: String = "2023-11-15T13:00:00Z") -> String {
        """
        {"RoleArn": "r", "AccessKeyId": "\(id)", "SecretAccessKey": "secret-\(id)", "Token": "t",
         "Expiration": "\(expiry)"}
        """
    }

    @Test func `the endpoint of the container is asked with its token, which is read anew each time`() async throws {
        let scratch = try Scratch()
        let fake = try await FakeService { request in
            request.headers["authorization"] == "Bearer 2" || request.headers["authorization"] == "Bearer 1"
                ? FakeAnswer(200, Self.answer("ASIA3")) : FakeAnswer(403)
        }
        let path = try scratch.write("token", "Bearer 1\n")
        let source = ContainerCredentials(
            scratch.context([
                "AWS_CONTAINER_CREDENTIALS_FULL_URI": fake.endpoint + "/v1/credentials?x=y",
                "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": path,
            ]))
        #expect(try await source.load()?.accessKeyID == "ASIA3")
        try scratch.write("token", "Bearer 2")
        #expect(try await source.load()?.expirySeconds == 1_700_053_200)
        #expect(fake.requests.map { $0.headers["authorization"] } == ["Bearer 1", "Bearer 2"])
        #expect(fake.requests[0].target == "/v1/credentials?x=y")
        try scratch.write("token", "Bearer 3\r\nX: y")
        await #expect(throws: CredentialError.self) { try await source.load() }
        #expect(fake.requests.count == 2)
    }

    @Test(arguments: [
        ("http://127.0.0.1:80/x", true), ("http://127.9.9.9/x", true), ("http://localhost/x", true),
        ("http://[::1]:1/x", true), ("http://169.254.170.2/x", true), ("http://169.254.170.23/v1/credentials", true),
        ("http://[fd00:ec2::23]/x", true), ("https://example.com/x", true), ("http://example.com/x", false),
        ("http://169.254.169.254/x", false), ("http://10.0.0.1/x", false), ("http://127.0.0.1.example.com/", false),
        ("http://127.0.0.1@example.com/", false), ("http://user@127.0.0.1/", false), ("ftp://127.0.0.1/", false),
        ("http://[::2]/", false), ("/x", false), ("", false), ("http://127.0.0.1/\nx", false),
    ])
    func `without encryption only the machine itself and the addresses of ECS and EKS are asked`(
        url: String, isAllowed: Bool
    ) { #expect(ContainerCredentials.isAllowed(url) == isAllowed) }

    @Test func `an address that is not allowed is an error, no attempt`() async throws {
        let scratch = try Scratch()
        let context = scratch.context(["AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://192.0.2.1/x"])
        let error = await #expect(throws: CredentialError.self) { try await ContainerCredentials(context).load() }
        #expect(error?.text.contains("without encryption") == true)
    }

    @Test(arguments: [
        FakeAnswer(500, "x"), FakeAnswer(200, "x"), FakeAnswer(200, "{}"), FakeAnswer(200, manner: .closed),
    ])
    func `an endpoint that gives none is an error`(answer: FakeAnswer) async throws {
        let scratch = try Scratch()
        let fake = try await FakeService { _ in answer }
        let context = scratch.context(["AWS_CONTAINER_CREDENTIALS_FULL_URI": fake.endpoint])
        await #expect(throws: CredentialError.self) { try await ContainerCredentials(context).load() }
    }
}

@Suite struct InstanceTests {
    private static let role = "/latest/meta-data/iam/security-credentials/"

    @Test func `the instance's role is asked for by IMDSv2`() async throws {
        let scratch = try Scratch()
        let metadata = FakeMetadata(.ec2)
        metadata.set(Self.role, "ocr-role")
        metadata.set(
            Self.role + "ocr-role",
            #"{"Code":"Success","Type":"AWS-HMAC","LastUpdated":"2023-11-15T11:00:00Z","AccessKeyId":"ASIA4","#
                + #""SecretAccessKey":"s","Token":"t","Expiration":"2023-11-15T18:00:00Z"}"#)
        metadata.set(
            "/latest/dynamic/instance-identity/document", #"{"region":"us-west-2","accountId":"1"}"#)
        let fake = try await FakeService(metadata.answer)
        let context = scratch.context(instance: fake.endpoint)
        let found = try await InstanceCredentials(context).load()
        #expect(found?.accessKeyID == "ASIA4" && found?.sessionToken == "t")
        #expect(fake.requests.dropFirst().allSatisfy { $0.headers["x-aws-ec2-metadata-token"] == "token-1==" })
        #expect(try await RegionSearch.region(context) == FoundRegion(name: "us-west-2", source: "EC2 instance"))
        #expect(
            try await RegionSearch.region(scratch.context(["AWS_DEFAULT_REGION": "eu-west-1"], instance: fake.endpoint))
                == FoundRegion(name: "eu-west-1", source: "AWS_DEFAULT_REGION"))
    }

    @Test func `an instance without a role has none, one whose role fails is an error`() async throws {
        let scratch = try Scratch()
        let metadata = FakeMetadata(.ec2)
        let fake = try await FakeService(metadata.answer)
        #expect(try await InstanceCredentials(scratch.context(instance: fake.endpoint)).load() == nil)
        metadata.set(Self.role, "r")
        metadata.set(Self.role + "r", #"{"Code":"AssumeRoleUnauthorizedAccess"}"#)
        let error = await #expect(throws: CredentialError.self) {
            try await InstanceCredentials(scratch.context(instance: fake.endpoint)).load()
        }
        #expect(error?.text.contains("AssumeRoleUnauthorizedAccess") == true)
    }

    @Test func `where there is no EC2, or it is switched off, nobody is asked`() async throws {
        let scratch = try Scratch()
        let fake = try await FakeService { _ in FakeAnswer(500) }
        #expect(try await InstanceCredentials(scratch.context()).load() == nil)
        #expect(try await RegionSearch.region(scratch.context()) == nil)
        let off = scratch.context(["AWS_EC2_METADATA_DISABLED": "TRUE"], instance: fake.endpoint)
        #expect(try await InstanceCredentials(off).load() == nil)
        #expect(try await RegionSearch.region(off) == nil)
        let other = CredentialContext(
            environment: ["HOME": scratch.directory],
            instance: CloudPlace(cloud: .gcp, endpoint: fake.endpoint, evidence: "test"))
        #expect(try await InstanceCredentials(other).load() == nil)
        #expect(fake.requests.isEmpty)
    }

    @Test func `a region that could lead a request elsewhere is refused`() async throws {
        let scratch = try Scratch()
        for region in ["x.evil.example/", "EU", String(repeating: "a", count: 41), "a b"] {
            await #expect(throws: CredentialError.self) {
                try await RegionSearch.region(scratch.context(["AWS_REGION": region]))
            }
        }
    }
}
