// A narrow C interface over poppler: pages of a PDF in memory as grey pixels, with no C++ type or exception in sight.
//
// Nothing here opens a file; poppler itself opens fonts, fontconfig's configuration and character maps for reading where a
// document does not embed them.
#ifndef C_POPPLER_H
#define C_POPPLER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/// An opened document; its bytes belong to the caller and must outlive it. Not for concurrent use.
typedef struct pdf_document pdf_document;

enum pdf_status {
    PDF_OPENED = 0,
    /// No document could be made of the bytes.
    PDF_DAMAGED = 1,
    /// A password is needed to read it.
    PDF_LOCKED = 2,
    PDF_OUT_OF_MEMORY = 3,
};

/// Opens a document of at most 2 GiB; null with `*status` set if it cannot be read.
pdf_document *pdf_open(const uint8_t *bytes, size_t byte_count, int *status);
void pdf_close(pdf_document *document);

/// As the document says; may be anything, negative numbers included.
int pdf_page_count(const pdf_document *document);

/// Size of a page as it is shown (crop box, turned), in points; false if there is no such page. `index` counts from 0.
bool pdf_page_size(pdf_document *document, int index, double *width, double *height);

/// Renders a page at a resolution into 8-bit grey rows, white behind it. `width` and `height` must be those of the page at
/// that resolution, rounded up. Returns false, with the pixels undefined, if the page cannot be rendered.
bool pdf_render_grey(
    pdf_document *document, int index, double dpi, int width, int height, uint8_t *pixels, size_t row_byte_count);

/// The first complaint of poppler since the last call of `pdf_open` or `pdf_render_grey` began, "" if there was none.
void pdf_message(char *buffer, size_t capacity);

/// "22.12.0".
const char *pdf_library_version(void);

#ifdef __cplusplus
}
#endif

#endif
