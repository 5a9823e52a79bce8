// One Tesseract handle. No exception leaves this file.

#include <leptonica/allheaders.h>
#include <tesseract/baseapi.h>
#include <tesseract/ocrclass.h>
#include <tesseract/resultiterator.h>

#include <cstdio>
#include <cstring>
#include <exception>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "CTesseract.h"
#include "outputs.h"

struct ocr_engine {
    tesseract::TessBaseAPI api;
    int model_mode = tesseract::PSM_SINGLE_BLOCK;
};

namespace {

// The name of a file that is nowhere, to make Tesseract say so.
const char *const no_such_file = "/nonexistent/config";

void copy_text(const std::string &text, char *buffer, size_t capacity) {
    if (capacity > 0) std::snprintf(buffer, capacity, "%s", text.c_str());
}

char *copied(const char *text) {
    const size_t count = std::strlen(text);
    auto *copy = static_cast<char *>(std::malloc(count + 1));
    if (copy != nullptr) std::memcpy(copy, text, count + 1);
    return copy;
}

// Words, confidence and text after a successful Recognize, with one walk over the words. Asking a page without a word
// for its text would make Tesseract analyse its layout a second time.
void collect(tesseract::TessBaseAPI &api, ocr_page &page) {
    bool has_word = false;
    const std::unique_ptr<tesseract::ResultIterator> words(api.GetIterator());
    if (words != nullptr) {
        do {
            if (words->Empty(tesseract::RIL_WORD)) continue;
            has_word = true;
            const std::unique_ptr<const char[]> text(words->GetUTF8Text(tesseract::RIL_WORD));
            if (text == nullptr || ocr::is_blank(text.get())) continue;
            page.word_count += 1;
            page.confidence_sum += words->Confidence(tesseract::RIL_WORD);
        } while (words->Next(tesseract::RIL_WORD));
    }
    std::unique_ptr<const char[]> text;
    if (has_word) text.reset(api.GetUTF8Text());
    page.text = copied(text != nullptr ? text.get() : "");
    page.status = page.text != nullptr ? OCR_STATUS_DONE : OCR_STATUS_OUT_OF_MEMORY;
}

// A copy of an output; the page has failed where there is none.
char *kept(const std::string &text, ocr_page &page) {
    char *copy = copied(text.c_str());
    if (copy == nullptr) page.status = OCR_STATUS_OUT_OF_MEMORY;
    return copy;
}

// What is wanted besides the text, after `collect`.
void collect_outputs(
    tesseract::TessBaseAPI &api, int number, unsigned outputs, ocr_document *document, ocr_page &page) {
    if (outputs & OCR_OUTPUT_HOCR) page.hocr = kept(ocr::hocr(api, number), page);
    if (outputs & OCR_OUTPUT_ALTO) page.alto = kept(ocr::alto(api, number), page);
    if (outputs & OCR_OUTPUT_TSV) page.tsv = kept(ocr::tsv(api, number), page);
    if (outputs & OCR_OUTPUT_WORDS) page.words = kept(ocr::words(api), page);
    if (document != nullptr) ocr::add_page(api, *document);
}

}  // namespace

extern "C" {

const char *ocr_tesseract_version(void) { return tesseract::TessBaseAPI::Version(); }

ocr_engine *ocr_engine_create(const char *directory, const char *languages, char *error, size_t capacity) {
    try {
        auto engine = std::make_unique<ocr_engine>();
        // Given as a variable of Init, or the messages of loading would still be printed.
        const std::vector<std::string> names = {"debug_file"};
        const std::vector<std::string> values = {"/dev/null"};
        engine->api.SetVariable("debug_file", "/dev/null");
        if (engine->api.Init(directory, languages, tesseract::OEM_LSTM_ONLY, nullptr, 0, &names, &values, false) != 0) {
            copy_text("Tesseract cannot load the models", error, capacity);
            return nullptr;
        }
        engine->api.SetVariable("debug_file", "/dev/null");
        // Opens the debug file now, while the process may still open one; Tesseract keeps it.
        engine->api.ReadConfigFile(no_such_file);
        engine->model_mode = engine->api.GetPageSegMode();
        setMsgSeverity(L_SEVERITY_NONE);
        return engine.release();
    } catch (const std::exception &exception) {
        copy_text(exception.what(), error, capacity);
    } catch (...) {
        copy_text("unknown exception", error, capacity);
    }
    return nullptr;
}

void ocr_open_debug_output(void) {
    try {
        tesseract::TessBaseAPI api;
        api.SetVariable("debug_file", "/dev/null");
        // The complaint about the missing file is the first message.
        api.ReadConfigFile(no_such_file);
    } catch (...) {
        // Then the first engine opens it, if it may.
    }
}

void ocr_engine_free(ocr_engine *engine) {
    try {
        delete engine;
    } catch (...) {
        // A destructor that throws has nothing to tell that the next job needs.
    }
}

int ocr_engine_model_mode(const ocr_engine *engine) { return engine->model_mode; }

void ocr_engine_languages(const ocr_engine *engine, char *buffer, size_t capacity) {
    if (capacity > 0) buffer[0] = 0;
    try {
        std::vector<std::string> names;
        engine->api.GetLoadedLanguagesAsVector(&names);
        std::string joined;
        for (const auto &name : names) joined += (joined.empty() ? "" : "+") + name;
        copy_text(joined, buffer, capacity);
    } catch (...) {
        // Left empty.
    }
}

void ocr_engine_recognise(
    ocr_engine *engine, ocr_image *image, int mode, int resolution, int deadline_milliseconds, int number,
    unsigned outputs, ocr_document *document, ocr_page *page) {
    *page = ocr_page{};
    page->status = OCR_STATUS_FAILED;
    Pix *pix = reinterpret_cast<Pix *>(image);
    try {
        tesseract::TessBaseAPI &api = engine->api;
        // Whatever a job before may have left behind: variables stick to a handle, and so do learnt words.
        api.ClearAdaptiveClassifier();
        api.SetVariable("debug_file", "/dev/null");
        api.SetVariable("user_defined_dpi", std::to_string(resolution).c_str());
        api.SetPageSegMode(static_cast<tesseract::PageSegMode>(mode));
        // Copies the pixels: ours are not needed any longer.
        api.SetImage(pix);
        pixDestroy(&pix);
        tesseract::ETEXT_DESC monitor;
        monitor.set_deadline_msecs(deadline_milliseconds > 0 ? deadline_milliseconds : 1);
        if (api.Recognize(&monitor) == 0) {
            collect(api, *page);
            collect_outputs(api, number, outputs, document, *page);
        } else if (monitor.deadline_exceeded()) {
            page->status = OCR_STATUS_TIMEOUT;
        } else {
            copy_text("Tesseract gave up on the page", page->error, sizeof page->error);
        }
        page->resolution = api.GetSourceYResolution();
        api.Clear();
    } catch (const std::bad_alloc &) {
        page->status = OCR_STATUS_OUT_OF_MEMORY;
    } catch (const std::exception &exception) {
        page->status = OCR_STATUS_FAILED;
        copy_text(exception.what(), page->error, sizeof page->error);
    } catch (...) {
        page->status = OCR_STATUS_FAILED;
        copy_text("unknown exception", page->error, sizeof page->error);
    }
    if (page->status != OCR_STATUS_DONE) ocr_page_free(page);
    pixDestroy(&pix);
}

void ocr_page_free(ocr_page *page) {
    for (char **text : {&page->text, &page->hocr, &page->alto, &page->tsv, &page->words}) {
        std::free(*text);
        *text = nullptr;
    }
}

}  // extern "C"
