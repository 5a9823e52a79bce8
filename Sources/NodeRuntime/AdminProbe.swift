// Asks whether a node answers at a data directory.

internal import GRPCCore
internal import GRPCNIOTransportHTTP2
internal import Wire

package enum AdminProbe {
    /// The process id of the node that answers there; nil when none does within two seconds.
    package static func processID(dataDirectory: String) async -> UInt32? {
        do {
            let transport = try HTTP2ClientTransport.Posix(
                target: .unixDomainSocket(path: dataDirectory + "/node.sock"), transportSecurity: .plaintext)
            return try await withGRPCClient(transport: transport) { client in
                var options = CallOptions.defaults
                options.timeout = .seconds(2)
                options.waitForReady = false
                return try await Ocr_V1_Admin.Client(wrapping: client).ping(.init(), options: options).pid
            }
        } catch {
            return nil
        }
    }
}
