#include "CInflate.h"

#include <limits.h>
#include <stdlib.h>
#include <zlib.h>

struct gzip_stream {
    z_stream stream;
};

struct gzip_stream *gzip_open(void) {
    struct gzip_stream *result = calloc(1, sizeof *result);
    if (!result) return NULL;
    // 16: gzip's frame and nothing else, its checksum included.
    if (inflateInit2(&result->stream, 16 + MAX_WBITS) != Z_OK) {
        free(result);
        return NULL;
    }
    return result;
}

void gzip_close(struct gzip_stream *stream) {
    if (!stream) return;
    inflateEnd(&stream->stream);
    free(stream);
}

int gzip_step(struct gzip_stream *stream, const unsigned char *input, size_t input_count, size_t *taken,
              unsigned char *output, size_t output_count, size_t *given) {
    z_stream *z = &stream->stream;
    if (input_count > UINT_MAX) input_count = UINT_MAX;
    if (output_count > UINT_MAX) output_count = UINT_MAX;
    z->next_in = (Bytef *)input;
    z->avail_in = (uInt)input_count;
    z->next_out = output;
    z->avail_out = (uInt)output_count;
    int status = inflate(z, Z_NO_FLUSH);
    *taken = input_count - z->avail_in;
    *given = output_count - z->avail_out;
    switch (status) {
    case Z_OK:
    case Z_BUF_ERROR:
        return GZIP_MORE;
    case Z_STREAM_END:
        return inflateReset(z) == Z_OK ? GZIP_ENDED : GZIP_DAMAGED;
    case Z_MEM_ERROR:
        return GZIP_NO_MEMORY;
    default:
        return GZIP_DAMAGED;
    }
}
