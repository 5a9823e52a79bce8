// Zstandard's streams, as the system's libzstd has them.

#ifndef CZSTANDARD_H
#define CZSTANDARD_H

#include <stddef.h>
#include <zstd.h>

// Whether a returned size is an error; ZSTD_isError for callers that take no integer as a condition.
_Bool zstandard_failed(size_t code);

#endif
