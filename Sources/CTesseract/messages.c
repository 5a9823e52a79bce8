// Keeps back what the image libraries print to standard error.
//
// libpng and libjpeg, as leptonica sets them up, print to `stderr` and offer no hook; glibc's `stderr` is a variable
// that may be set, so the decoders get a stream that remembers a line.

#define _GNU_SOURCE
#include <leptonica/allheaders.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "CTesseract.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static FILE *capture_stream;
static FILE *usual_stream;
static pthread_t owner;
static char line[400];
static size_t line_count;
// The first line that is no warning, else the last warning: what comes after the first error are its consequences.
static char telling_line[400];
static bool has_error;

static void finish_line(void) {
    if (line_count > 0 && !has_error) {
        memcpy(telling_line, line, line_count);
        telling_line[line_count] = 0;
        has_error = strcasestr(telling_line, "warning") == NULL;
    }
    line_count = 0;
}

static ssize_t write_captured(void *cookie, const char *bytes, size_t count) {
    (void)cookie;
    // Another thread that prints meanwhile means the real standard error.
    if (!pthread_equal(pthread_self(), owner)) return write(STDERR_FILENO, bytes, count);
    for (size_t index = 0; index < count; index++) {
        const unsigned char byte = (unsigned char)bytes[index];
        if (byte == '\n') {
            finish_line();
        } else if (line_count + 1 < sizeof line) {
            line[line_count++] = byte < 0x20 || byte == 0x7F ? ' ' : (char)byte;
        }
    }
    return (ssize_t)count;
}

void ocr_messages_begin(void) {
    pthread_mutex_lock(&lock);
    owner = pthread_self();
    line_count = 0;
    telling_line[0] = 0;
    has_error = false;
    if (capture_stream == NULL) {
        const cookie_io_functions_t functions = {.write = write_captured};
        capture_stream = fopencookie(NULL, "w", functions);
        if (capture_stream != NULL) setvbuf(capture_stream, NULL, _IONBF, 0);
    }
    usual_stream = stderr;
    if (capture_stream != NULL) {
        stderr = capture_stream;
        setMsgSeverity(L_SEVERITY_ERROR);
    } else {
        setMsgSeverity(L_SEVERITY_NONE);
    }
}

void ocr_messages_end(char *buffer, size_t capacity) {
    stderr = usual_stream;
    setMsgSeverity(L_SEVERITY_NONE);
    finish_line();
    if (capacity > 0) {
        strncpy(buffer, telling_line, capacity - 1);
        buffer[capacity - 1] = 0;
    }
    pthread_mutex_unlock(&lock);
}
