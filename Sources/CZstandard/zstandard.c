#include "CZstandard.h"

_Bool zstandard_failed(size_t code) { return ZSTD_isError(code) != 0; }

// Fixed: the same bytes are packed to the same bytes by the same library.
enum { level = 3 };

size_t zstandard_bound(size_t byte_count) { return ZSTD_compressBound(byte_count); }

size_t zstandard_pack(const uint8_t *bytes, size_t byte_count, uint8_t *packed, size_t capacity) {
    const size_t count = ZSTD_compress(packed, capacity, bytes, byte_count, level);
    return ZSTD_isError(count) ? 0 : count;
}

int64_t zstandard_declared_size(const uint8_t *packed, size_t packed_count) {
    const unsigned long long size = ZSTD_getFrameContentSize(packed, packed_count);
    // Unknown and damaged are the two largest values.
    return size <= INT64_MAX ? (int64_t)size : -1;
}

int zstandard_unpack(const uint8_t *packed, size_t packed_count, uint8_t *bytes, size_t byte_count) {
    // One frame and nothing behind it: several would be unpacked one after the other.
    if (ZSTD_findFrameCompressedSize(packed, packed_count) != packed_count) return -1;
    const size_t count = ZSTD_decompress(bytes, byte_count, packed, packed_count);
    return !ZSTD_isError(count) && count == byte_count ? 0 : -1;
}
