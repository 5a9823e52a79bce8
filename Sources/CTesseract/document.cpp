// A searchable PDF: Tesseract's renderer, written to memory.

#include <leptonica/allheaders.h>
#include <tesseract/renderer.h>

#include <cstdio>
#include <cstring>
#include <memory>
#include <mutex>
#include <stdexcept>

#include "outputs.h"

struct ocr_document {
    std::string bytes;
    size_t byte_limit = 0;
    bool is_full = false;
    bool has_failed = false;
    std::unique_ptr<tesseract::TessPDFRenderer> renderer;
};

namespace {

ssize_t append(void *cookie, const char *bytes, size_t count) {
    auto &document = *static_cast<ocr_document *>(cookie);
    if (document.is_full || count > document.byte_limit - document.bytes.size()) {
        document.is_full = true;
        return 0;
    }
    try {
        document.bytes.append(bytes, count);
    } catch (...) {
        // The C library is between here and who could catch it.
        document.has_failed = true;
        return 0;
    }
    return static_cast<ssize_t>(count);
}

// The renderer writes to a file that it names and opens itself, or to `stdout` as it is when the renderer is made. glibc's
// `stdout` is a variable that may be set. The renderer closes the stream that is not `stdout` when it ends.
std::unique_ptr<tesseract::TessPDFRenderer> renderer_into(ocr_document &document, const char *directory) {
    static std::mutex lock;
    const std::lock_guard<std::mutex> guard(lock);
    const cookie_io_functions_t functions = {.read = nullptr, .write = append, .seek = nullptr, .close = nullptr};
    FILE *stream = fopencookie(&document, "w", functions);
    if (stream == nullptr) throw std::bad_alloc();
    FILE *usual = stdout;
    stdout = stream;
    try {
        auto renderer = std::make_unique<tesseract::TessPDFRenderer>("stdout", directory);
        stdout = usual;
        return renderer;
    } catch (...) {
        stdout = usual;
        std::fclose(stream);
        throw;
    }
}

// The renderer notes when it wrote. Blanks of the same length take the note's place: what stands behind it does not move,
// and the same pages are the same bytes.
bool forget_date(std::string &bytes) {
    const size_t begin = bytes.rfind("/CreationDate (");
    if (begin == std::string::npos) return false;
    const size_t end = bytes.find(')', begin);
    if (end == std::string::npos) return false;
    bytes.replace(begin, end + 1 - begin, end + 1 - begin, ' ');
    return true;
}

}  // namespace

void ocr::add_page(tesseract::TessBaseAPI &api, ocr_document &document) {
    // "-": not the name of a file from which the image could be taken instead.
    api.SetInputName("-");
    const bool is_added = document.renderer != nullptr && document.renderer->AddImage(&api);
    api.SetInputName("");
    if (is_added && document.renderer->happy()) return;
    if (document.is_full) return;
    throw std::runtime_error("the page cannot be written as PDF");
}

extern "C" {

// Takes the place of leptonica's function of this name for Tesseract's renderer (the program's own symbols come before those
// of shared libraries). That one writes temporary files to compress a photograph as JPEG and two-valued pixels as a fax
// does, and the worker may write none: here both stay in memory, and two-valued pixels are deflated.
l_ok l_generateCIDataForPdf(const char *, PIX *pix, l_int32 quality, L_COMP_DATA **pcid) {
    *pcid = nullptr;
    if (pix == nullptr) return 1;
    const l_int32 depth = pixGetDepth(pix);
    if (pixGetColormap(pix) != nullptr || (depth != 8 && depth != 32)) {
        return pixGenerateCIData(pix, L_FLATE_ENCODE, 0, 0, pcid);
    }
    l_uint8 *bytes = nullptr;
    size_t count = 0;
    if (pixWriteMemJpeg(&bytes, &count, pix, quality, 0) != 0) return 1;
    // Owns the bytes from here on.
    *pcid = l_generateJpegDataMem(bytes, count, 0);
    return *pcid == nullptr;
}

ocr_document *ocr_document_create(const char *directory, size_t byte_limit, char *error, size_t capacity) {
    const char *message = "no memory for a PDF";
    try {
        auto document = std::make_unique<ocr_document>();
        document->byte_limit = byte_limit;
        document->renderer = renderer_into(*document, directory);
        if (document->renderer->BeginDocument("")) return document.release();
        message = "the document cannot be begun";
    } catch (...) {
        // Only memory can be at fault.
    }
    if (capacity > 0) std::snprintf(error, capacity, "%s", message);
    return nullptr;
}

bool ocr_document_is_full(const ocr_document *document) { return document->is_full; }

const uint8_t *ocr_document_finish(ocr_document *document, size_t *byte_count) {
    *byte_count = 0;
    try {
        if (document->renderer == nullptr) return nullptr;
        const bool is_ended = document->renderer->EndDocument() && document->renderer->happy();
        // Only closing the stream gives the last bytes.
        document->renderer.reset();
        if (!is_ended || document->is_full || document->has_failed || !forget_date(document->bytes)) return nullptr;
    } catch (...) {
        return nullptr;
    }
    *byte_count = document->bytes.size();
    return reinterpret_cast<const uint8_t *>(document->bytes.data());
}

void ocr_document_free(ocr_document *document) {
    try {
        delete document;
    } catch (...) {
        // A destructor that throws has nothing to tell that the next job needs.
    }
}

}  // extern "C"
