// qpdf's jobs, with what goes wrong as a text.

#ifndef CQPDF_H
#define CQPDF_H

#include <stddef.h>

// Runs what the command `qpdf` would run; `arguments` ends with NULL. Returns 0, or an error with its text in `message`.
int qpdf_run(const char *const *arguments, char *message, size_t message_size);

#endif
