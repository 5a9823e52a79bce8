// What `node join` and `node keys` ask of a running node.

package import GRPCCore
package import Wire

extension AdminService {
    package func join(
        request: Ocr_V1_JoinRequest, context: GRPCCore.ServerContext
    ) async throws -> Ocr_V1_JoinResponse {
        throw AdminError(code: "unsupported", message: "not yet", exitCode: 1)
    }

    package func keys(
        request: Ocr_V1_KeysRequest, context: GRPCCore.ServerContext
    ) async throws -> Ocr_V1_KeysResponse {
        throw AdminError(code: "unsupported", message: "not yet", exitCode: 1)
    }
}
