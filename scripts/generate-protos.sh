#!/bin/sh
# Writes Sources/Wire/Generated from Protos/. The result is committed, so that a build needs no protoc.
#
# Needs Debian's protobuf-compiler. The two plugins are built from the pinned packages unless PLUGIN_DIR names a
# directory that has them.
set -eu
cd "$(dirname "$0")/.."

command -v protoc >/dev/null || {
    echo "error: protoc is not installed" >&2
    echo "  hint: apt-get install protobuf-compiler" >&2
    exit 1
}
if [ -z "${PLUGIN_DIR:-}" ]; then
    swift build --product protoc-gen-swift
    swift build --product protoc-gen-grpc-swift-2
    PLUGIN_DIR=$(swift build --show-bin-path)
fi

output=Sources/Wire/Generated
rm -rf "$output"
mkdir -p "$output"
protoc -I Protos Protos/*.proto \
    --plugin=protoc-gen-swift="$PLUGIN_DIR/protoc-gen-swift" \
    --swift_out="$output" --swift_opt=Visibility=Package --swift_opt=UseAccessLevelOnImports=true
# Only the files with a service have gRPC code.
protoc -I Protos Protos/admin.proto Protos/peer.proto \
    --plugin=protoc-gen-grpc-swift-2="$PLUGIN_DIR/protoc-gen-grpc-swift-2" \
    --grpc-swift-2_out="$output" --grpc-swift-2_opt=Visibility=Package --grpc-swift-2_opt=UseAccessLevelOnImports=true
