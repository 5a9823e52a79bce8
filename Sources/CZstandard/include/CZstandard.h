// Zstandard: its streams as the system's libzstd has them, and whole frames in one call each way; zstd's macros and error
// codes are not for Swift.

#ifndef CZSTANDARD_H
#define CZSTANDARD_H

#include <stddef.h>
#include <stdint.h>
#include <zstd.h>

// Whether a returned size is an error; ZSTD_isError for callers that take no integer as a condition.
_Bool zstandard_failed(size_t code);

// Most bytes that `byte_count` bytes become.
size_t zstandard_bound(size_t byte_count);

// One frame, always of the same level, that names its size. Gives its size, or 0 when `capacity` is too small or there is
// no memory.
size_t zstandard_pack(const uint8_t *bytes, size_t byte_count, uint8_t *packed, size_t capacity);

// How many bytes a frame says that it holds, which may be a lie; -1 when it does not say or is no frame.
int64_t zstandard_declared_size(const uint8_t *packed, size_t packed_count);

// The bytes of a frame that holds exactly `byte_count`. 0, or -1 when it is damaged, holds another number, is followed by
// something, or there is no memory.
int zstandard_unpack(const uint8_t *packed, size_t packed_count, uint8_t *bytes, size_t byte_count);

#endif
