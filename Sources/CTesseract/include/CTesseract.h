// A narrow C interface over Tesseract, leptonica and libtiff: what OCR needs, with no C++ type, exception or stdio
// stream in sight. Everything takes bytes in memory; no function here opens a file except `ocr_engine_create`, which
// reads models.

#ifndef CTESSERACT_H
#define CTESSERACT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// MARK: Memory

// Exit code of a process whose C++ allocation failed after `ocr_exit_when_out_of_memory`.
enum { OCR_EXIT_OUT_OF_MEMORY = 77 };

// From now on a failed `operator new` ends the process with OCR_EXIT_OUT_OF_MEMORY. Meant for worker processes:
// Tesseract does not survive a bad_alloc in a usable state.
void ocr_exit_when_out_of_memory(void);

// Whether `byte_count` bytes can be allocated now. Allocates and frees them; touches none.
bool ocr_can_allocate(size_t byte_count);

// MARK: Library versions

const char *ocr_tesseract_version(void);
// Copies at most capacity - 1 bytes and a NUL.
void ocr_leptonica_version(char *buffer, size_t capacity);

// MARK: Messages of the decoders

// The decoders (libpng, libjpeg, libtiff, leptonica) print to standard error. Between these two calls, on this thread,
// what they print is kept back instead, and `ocr_messages_end` gives the first error, or a warning where there is no
// error. Not reentrant; holds a lock.
void ocr_messages_begin(void);
void ocr_messages_end(char *buffer, size_t capacity);

// MARK: Images

// A decoded image (leptonica's PIX).
typedef struct ocr_image ocr_image;

// Any format but TIFF; null if leptonica cannot decode it.
ocr_image *ocr_image_decode(const uint8_t *bytes, size_t byte_count);
// The stripped page of a TIFF whose directory is at `directory_offset`, as leptonica decodes it.
ocr_image *ocr_image_decode_tiff(const uint8_t *bytes, size_t byte_count, uint64_t directory_offset);
// The same by libtiff's RGBA reader, which also knows tiles. The orientation tag must be 1.
ocr_image *ocr_image_decode_tiff_rgba(const uint8_t *bytes, size_t byte_count, uint64_t directory_offset);

// An 8-bit grey image without pixels set, of a resolution in pixels per inch; null if out of memory. Its rows are written
// by `ocr_image_grey_rows`' caller and then brought into leptonica's order by `ocr_image_grey_filled`.
ocr_image *ocr_image_grey(int width, int height, int resolution);
// The rows of such an image, one after the other, each of `*row_byte_count` bytes.
uint8_t *ocr_image_grey_rows(ocr_image *image, size_t *row_byte_count);
void ocr_image_grey_filled(ocr_image *image);

// `image` turned clockwise by `quarter_turns` (0...3), then mirrored left to right. Consumes `image`; null if out of
// memory.
ocr_image *ocr_image_turned(ocr_image *image, int quarter_turns, bool mirrored);
void ocr_image_free(ocr_image *image);
int ocr_image_width(const ocr_image *image);
int ocr_image_height(const ocr_image *image);
// Vertical pixels per inch, 0 if the image does not say.
int ocr_image_resolution(const ocr_image *image);
void ocr_image_forget_resolution(ocr_image *image);
// 0xRRGGBB of one pixel of an image of any depth; for tests.
uint32_t ocr_image_pixel(const ocr_image *image, int x, int y);

// MARK: Recognition

// A Tesseract handle with its models.
typedef struct ocr_engine ocr_engine;

/// Lets Tesseract open its debug output (/dev/null), which it does at its first message and keeps for good.
void ocr_open_debug_output(void);

// Loads the models of `languages` ("deu+eng") from `directory`, LSTM only. Null, and a text in `error`, on failure.
ocr_engine *ocr_engine_create(const char *directory, const char *languages, char *error, size_t capacity);
void ocr_engine_free(ocr_engine *engine);
// The page segmentation mode that the models ask for (vertical scripts do); 6 if they do not.
int ocr_engine_model_mode(const ocr_engine *engine);
// Names of the models that are loaded, joined by "+".
void ocr_engine_languages(const ocr_engine *engine, char *buffer, size_t capacity);

typedef enum ocr_status {
    OCR_STATUS_DONE = 0,
    OCR_STATUS_TIMEOUT = 1,
    OCR_STATUS_FAILED = 2,
    OCR_STATUS_OUT_OF_MEMORY = 3,
} ocr_status;

// What a page gives besides its text; a sum of these.
enum {
    OCR_OUTPUT_HOCR = 1,
    OCR_OUTPUT_ALTO = 2,
    OCR_OUTPUT_TSV = 4,
    OCR_OUTPUT_WORDS = 8,
};

// A PDF that grows by a page with each recognition. It is written in memory; the only file that is opened is pdf.ttf of the
// model directory, in whose place Tesseract takes another font where it is missing.
typedef struct ocr_document ocr_document;

// Begins a document of at most `byte_limit` bytes. Null, and a text in `error`, when that fails.
ocr_document *ocr_document_create(const char *directory, size_t byte_limit, char *error, size_t capacity);
// Whether it would have had more bytes than its limit.
bool ocr_document_is_full(const ocr_document *document);
// Ends the document. Gives its bytes, which live as long as the document; null when it is full or could not be written.
const uint8_t *ocr_document_finish(ocr_document *document, size_t *byte_count);
void ocr_document_free(ocr_document *document);

typedef struct ocr_page {
    ocr_status status;
    // NUL-terminated UTF-8, to be freed by ocr_page_free; null unless done.
    char *text;
    // The same, where they were asked for: an element div class="ocr_page"; an element Page of ALTO, whose ids are
    // unique in the file; lines of TSV without the heading; a JSON array of the words, in one line.
    char *hocr;
    char *alto;
    char *tsv;
    char *words;
    // Over words that are not only white space.
    int word_count;
    double confidence_sum;
    // Pixels per inch that recognition assumed.
    int resolution;
    // What went wrong, if something did.
    char error[200];
} ocr_page;

// Recognises `image`, which is consumed. `resolution` 0 takes the image's own. `outputs` are made from the same
// recognition, as those of page `number` of the file (from 1); so is a page of `document`, where it is not null. After any
// status but DONE the engine is to be freed.
void ocr_engine_recognise(
    ocr_engine *engine, ocr_image *image, int mode, int resolution, int deadline_milliseconds, int number,
    unsigned outputs, ocr_document *document, ocr_page *page);
void ocr_page_free(ocr_page *page);

#ifdef __cplusplus
}
#endif

#endif
