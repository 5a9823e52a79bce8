// poppler's C++ interface behind C. No exception leaves this file.

#include <poppler/cpp/poppler-document.h>
#include <poppler/cpp/poppler-global.h>
#include <poppler/cpp/poppler-image.h>
#include <poppler/cpp/poppler-page-renderer.h>
#include <poppler/cpp/poppler-page.h>
#include <poppler/cpp/poppler-version.h>

#include <algorithm>
#include <climits>
#include <cstdio>
#include <cstring>
#include <memory>
#include <new>
#include <string>

#include "CPoppler.h"

struct pdf_document {
    std::unique_ptr<poppler::document> document;
};

namespace {

thread_local std::string first_message;

// poppler prints to standard error unless it is given this.
void note(const std::string &message, void *) {
    if (first_message.empty()) first_message = message.substr(0, 300);
}

void begin() {
    first_message.clear();
    poppler::set_debug_error_function(note, nullptr);
}

std::unique_ptr<poppler::page> page_of(pdf_document *document, int index) {
    if (index < 0 || index >= document->document->pages()) return nullptr;
    return std::unique_ptr<poppler::page>(document->document->create_page(index));
}

} // namespace

pdf_document *pdf_open(const uint8_t *bytes, size_t byte_count, int *status) {
    begin();
    *status = PDF_DAMAGED;
    if (byte_count == 0 || byte_count > INT_MAX) return nullptr;
    try {
        std::unique_ptr<poppler::document> document(
            poppler::document::load_from_raw_data(reinterpret_cast<const char *>(bytes), static_cast<int>(byte_count)));
        if (document == nullptr) return nullptr;
        if (document->is_locked()) {
            *status = PDF_LOCKED;
            return nullptr;
        }
        auto *opened = new pdf_document{std::move(document)};
        *status = PDF_OPENED;
        return opened;
    } catch (const std::bad_alloc &) {
        *status = PDF_OUT_OF_MEMORY;
    } catch (...) {
        *status = PDF_DAMAGED;
    }
    return nullptr;
}

void pdf_close(pdf_document *document) { delete document; }

int pdf_page_count(const pdf_document *document) { return document->document->pages(); }

bool pdf_page_size(pdf_document *document, int index, double *width, double *height) {
    try {
        const auto page = page_of(document, index);
        if (page == nullptr) return false;
        // The renderer turns the page by its own orientation; the box is that of the unturned one.
        const auto box = page->page_rect(poppler::crop_box);
        const auto turn = page->orientation();
        const bool is_sideways = turn == poppler::page::landscape || turn == poppler::page::seascape;
        *width = is_sideways ? box.height() : box.width();
        *height = is_sideways ? box.width() : box.height();
        return true;
    } catch (...) {
        return false;
    }
}

bool pdf_render_grey(
    pdf_document *document, int index, double dpi, int width, int height, uint8_t *pixels, size_t row_byte_count) {
    begin();
    try {
        const auto page = page_of(document, index);
        if (page == nullptr || width <= 0 || height <= 0 || row_byte_count < static_cast<size_t>(width)) return false;
        poppler::page_renderer renderer;
        renderer.set_image_format(poppler::image::format_gray8);
        renderer.set_paper_color(0xFFFFFFFF);
        renderer.set_render_hint(poppler::page_renderer::antialiasing, true);
        renderer.set_render_hint(poppler::page_renderer::text_antialiasing, true);
        const poppler::image image = renderer.render_page(page.get(), dpi, dpi, 0, 0, width, height);
        if (!image.is_valid() || image.format() != poppler::image::format_gray8) return false;
        const int rows = std::min(height, image.height());
        const size_t count = static_cast<size_t>(std::min(width, image.width()));
        for (int row = 0; row < height; row++) {
            uint8_t *to = pixels + row_byte_count * static_cast<size_t>(row);
            std::memset(to, 0xFF, row_byte_count);
            if (row >= rows) continue;
            std::memcpy(to, image.const_data() + static_cast<ptrdiff_t>(image.bytes_per_row()) * row, count);
        }
        return true;
    } catch (...) {
        return false;
    }
}

void pdf_message(char *buffer, size_t capacity) {
    if (capacity > 0) std::snprintf(buffer, capacity, "%s", first_message.c_str());
}

const char *pdf_library_version(void) {
    static const std::string version = poppler::version_string();
    return version.c_str();
}
