#include "CZstandard.h"

_Bool zstandard_failed(size_t code) { return ZSTD_isError(code) != 0; }
