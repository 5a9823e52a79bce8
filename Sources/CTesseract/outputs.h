// What a recognised page gives besides its text. For engine.cpp; throws std::runtime_error and std::bad_alloc.

#ifndef OCR_OUTPUTS_H
#define OCR_OUTPUTS_H

#include <tesseract/baseapi.h>

#include <string>

#include "CTesseract.h"

namespace ocr {

// Whether a text is only white space: such a word is none.
bool is_blank(const char *text);

// Of the page that `api` has recognised last, as page `number` of its file, from 1. An empty page gives an empty page.
std::string hocr(tesseract::TessBaseAPI &api, int number);
std::string alto(tesseract::TessBaseAPI &api, int number);
std::string tsv(tesseract::TessBaseAPI &api, int number);
std::string words(tesseract::TessBaseAPI &api);

// Appends the page to a document.
void add_page(tesseract::TessBaseAPI &api, ocr_document &document);

}  // namespace ocr

#endif
