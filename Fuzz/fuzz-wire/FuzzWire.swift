// What libFuzzer calls; built and run by scripts/fuzz.sh. The first byte of an input names the decoder.

import ClusterModel
import Glibc
import WireDecoders

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzOneInput(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    HostileDecoder.run(tagged: UnsafeBufferPointer(start: start, count: count))
    return 0
}

/// Writes valid inputs of every decoder into the directory that FUZZ_SEED_DIRECTORY names, for the fuzzer to begin with.
@_cdecl("LLVMFuzzerInitialize")
public func fuzzInitialize(_: UnsafeMutablePointer<CInt>?, _: UnsafeMutableRawPointer?) -> CInt {
    guard let directory = getenv("FUZZ_SEED_DIRECTORY") else { return 0 }
    var generator = SeededGenerator(seed: 1)
    for decoder in HostileDecoder.allCases {
        for number in 0..<8 {
            let input = [decoder.rawValue] + decoder.sample(using: &generator)
            guard let file = fopen("\(String(cString: directory))/\(decoder)-\(number)", "w") else { return 1 }
            fwrite(input, 1, input.count, file)
            fclose(file)
        }
    }
    return 0
}
