#include "CQpdf.h"

#include <qpdf/qpdfjob-c.h>
#include <qpdf/qpdflogger-c.h>
#include <string.h>

struct text {
    char *bytes;
    size_t room;
};

// Keeps the first line or so of what qpdf says.
static int note(char const *data, size_t count, void *target) {
    struct text *text = target;
    if (text->room <= 1) return 0;
    if (count > text->room - 1) count = text->room - 1;
    memcpy(text->bytes, data, count);
    for (size_t i = 0; i < count; i++)
        if (text->bytes[i] == '\n') text->bytes[i] = ' ';
    text->bytes += count;
    text->room -= count;
    *text->bytes = 0;
    return 0;
}

int qpdf_run(const char *const *arguments, char *message, size_t message_size) {
    struct text text = {message, message_size};
    if (message_size > 0) *message = 0;
    qpdflogger_handle logger = qpdflogger_create();
    qpdflogger_set_info(logger, qpdf_log_dest_discard, NULL, NULL);
    qpdflogger_set_warn(logger, qpdf_log_dest_custom, note, &text);
    qpdflogger_set_error(logger, qpdf_log_dest_custom, note, &text);
    qpdfjob_handle job = qpdfjob_init();
    qpdfjob_set_logger(job, logger);
    int code = qpdfjob_initialize_from_argv(job, arguments);
    if (code == 0) code = qpdfjob_run(job);
    qpdfjob_cleanup(&job);
    qpdflogger_cleanup(&logger);
    return code;
}
