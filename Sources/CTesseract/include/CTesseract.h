// The C APIs of Tesseract and leptonica, and the few pieces that are easier to say in C.

#ifndef CTESSERACT_H
#define CTESSERACT_H

#include <stddef.h>
#include <stdint.h>

// leptonica's types must be known before capi.h declares functions over PIX.
#include <leptonica/allheaders.h>
#include <tesseract/capi.h>

#ifdef __cplusplus
extern "C" {
#endif

/// Exit status of a process in which C++ could get no memory.
#define OCR_EXIT_OUT_OF_MEMORY 77

/// Lets `operator new` end the process with OCR_EXIT_OUT_OF_MEMORY instead of throwing through C and Swift.
void ocr_exit_when_out_of_memory(void);

/// Silences leptonica and libtiff; the last message of libtiff is kept for `ocr_last_tiff_error`.
void ocr_silence_libraries(void);

/// The last message of libtiff since `ocr_clear_tiff_error`; empty if there was none.
const char *ocr_last_tiff_error(void);
void ocr_clear_tiff_error(void);

/// Decodes the directory at `directory_offset` of a TIFF in memory through libtiff's RGBA interface, which reads tiled
/// files. Returns a 32-bit PIX turned upright, or NULL. The caller has checked width × height.
PIX *ocr_read_tiff_rgba(const uint8_t *data, size_t size, uint64_t directory_offset);

/// Whether `size` bytes can be allocated now.
int ocr_can_allocate(size_t size);

#ifdef __cplusplus
}
#endif

#endif
