#!/usr/bin/env bash
# Fuzzes every decoder of bytes from the network with libFuzzer and the address sanitizer, for FUZZ_SECONDS (default 600).
#
# A crash ends it with a non-zero code and leaves the input in .build-fuzz/findings: add that file to Tests/Fixtures/fuzz,
# where `make test` replays it, and mend the decoder. The corpus stays in .build-fuzz/corpus for the next run.
set -euo pipefail
cd "$(dirname "$0")/.."
command -v swift >/dev/null || export PATH="$PATH:/opt/swift/usr/bin"

seconds=${FUZZ_SECONDS:-600}
build=.build-fuzz
# Only this product: libFuzzer brings its own `main`, which no other program could be linked with.
# The compiler takes the last -sanitize only, and the package manager writes one for each: both again, in one.
OCR_FUZZ=1 swift build -c release --sanitize=fuzzer --sanitize=address -Xswiftc -sanitize=fuzzer,address \
    --scratch-path "$build" --product fuzz-wire
# Not grep -q: it would close the pipe early, which is an error of readelf here.
if ! readelf -SW "$build"/release/Wire.build/*.o | grep sancov_cntrs >/dev/null; then
    echo "error: the decoders have no coverage counters: the fuzzer would be blind" >&2
    exit 1
fi

mkdir -p "$build/corpus" "$build/seeds" "$build/findings"
FUZZ_SEED_DIRECTORY="$build/seeds" ASAN_OPTIONS=detect_leaks=0 \
    "$build/release/fuzz-wire" "$build/corpus" "$build/seeds" Tests/Fixtures/fuzz \
    -max_total_time="$seconds" -max_len=4096 -timeout=10 -rss_limit_mb=2048 \
    -artifact_prefix="$build/findings/" -print_final_stats=1
