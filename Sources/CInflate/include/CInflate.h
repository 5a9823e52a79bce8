// gzip, as a stream: zlib's macros and structures are not for Swift.

#ifndef INFLATE_H
#define INFLATE_H

#include <stddef.h>

struct gzip_stream;

enum {
    GZIP_MORE = 0,     // go on with more input or more room
    GZIP_ENDED = 1,    // a member ended; another may follow
    GZIP_DAMAGED = -1,
    GZIP_NO_MEMORY = -2,
};

// NULL when there is no memory.
struct gzip_stream *gzip_open(void);
void gzip_close(struct gzip_stream *stream);

// Takes bytes of gzip members and gives what they hold. Sets how many bytes it took and gave.
int gzip_step(struct gzip_stream *stream, const unsigned char *input, size_t input_count, size_t *taken,
              unsigned char *output, size_t output_count, size_t *given);

#endif
