// hOCR, ALTO, TSV and words of a page, from the recognition that gave its text.

#include "outputs.h"

#include <tesseract/resultiterator.h>

#include <cmath>
#include <memory>
#include <stdexcept>

namespace {

// The text that Tesseract gave, which is a new[] of char.
std::string taken(char *text, const char *what) {
    const std::unique_ptr<char[]> owned(text);
    if (owned == nullptr) throw std::runtime_error(std::string("Tesseract gave no ") + what);
    return owned.get();
}

// Tesseract counts the ids of blocks, lines and words of each page from 0, but in a file every id must be unique.
std::string with_ids_of_page(const std::string &alto, int number) {
    // In content a quotation mark is written as an entity, so that this stands nowhere but at an attribute.
    const std::string mark = " ID=\"";
    const std::string page = "page_";
    const std::string prefix = "p" + std::to_string(number) + "_";
    std::string result;
    result.reserve(alto.size() + alto.size() / 16);
    size_t position = 0;
    for (size_t found; (found = alto.find(mark, position)) != std::string::npos;) {
        found += mark.size();
        result.append(alto, position, found - position);
        if (alto.compare(found, page.size(), page) != 0) result += prefix;
        position = found;
    }
    return result.append(alto, position, std::string::npos);
}

void append_json(std::string &json, const char *text) {
    static const char digits[] = "0123456789abcdef";
    json += '"';
    for (; *text != 0; text++) {
        const auto byte = static_cast<unsigned char>(*text);
        if (byte == '"' || byte == '\\') {
            json += '\\';
            json += *text;
        } else if (byte < 0x20) {
            json += "\\u00";
            json += digits[byte >> 4];
            json += digits[byte & 15];
        } else {
            json += *text;
        }
    }
    json += '"';
}

// A confidence with two decimal places, whatever the locale.
std::string confidence_text(float confidence) {
    const long hundredths = std::lround(std::fmin(std::fmax(confidence, 0.0f), 100.0f) * 100);
    const long rest = hundredths % 100;
    return std::to_string(hundredths / 100) + (rest < 10 ? ".0" : ".") + std::to_string(rest);
}

}  // namespace

bool ocr::is_blank(const char *text) {
    for (; *text != 0; text++) {
        if (*text != ' ' && *text != '\n' && *text != '\t' && *text != '\r' && *text != '\f') return false;
    }
    return true;
}

std::string ocr::hocr(tesseract::TessBaseAPI &api, int number) {
    // Counts from 0, and writes from 1.
    return taken(api.GetHOCRText(number - 1), "hOCR");
}

std::string ocr::alto(tesseract::TessBaseAPI &api, int number) {
    // Writes the number as it is given.
    return with_ids_of_page(taken(api.GetAltoText(number), "ALTO"), number);
}

std::string ocr::tsv(tesseract::TessBaseAPI &api, int number) { return taken(api.GetTSVText(number - 1), "TSV"); }

std::string ocr::words(tesseract::TessBaseAPI &api) {
    std::string json = "[";
    int block = 0, line = 0;
    const std::unique_ptr<tesseract::ResultIterator> place(api.GetIterator());
    if (place != nullptr) {
        do {
            if (place->Empty(tesseract::RIL_WORD)) continue;
            if (block == 0 || place->IsAtBeginningOf(tesseract::RIL_BLOCK)) block += 1;
            if (line == 0 || place->IsAtBeginningOf(tesseract::RIL_TEXTLINE)) line += 1;
            const std::unique_ptr<const char[]> text(place->GetUTF8Text(tesseract::RIL_WORD));
            int left = 0, top = 0, right = 0, bottom = 0;
            if (text == nullptr || is_blank(text.get())
                || !place->BoundingBox(tesseract::RIL_WORD, &left, &top, &right, &bottom)) {
                continue;
            }
            json += json.size() > 1 ? ",{\"text\":" : "{\"text\":";
            append_json(json, text.get());
            json += ",\"confidence\":" + confidence_text(place->Confidence(tesseract::RIL_WORD));
            json += ",\"box\":[" + std::to_string(left) + "," + std::to_string(top) + "," + std::to_string(right) + ","
                    + std::to_string(bottom) + "]";
            json += ",\"line\":" + std::to_string(line) + ",\"block\":" + std::to_string(block) + "}";
        } while (place->Next(tesseract::RIL_WORD));
    }
    return json + "]\n";
}
