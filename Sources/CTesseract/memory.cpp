#include "CTesseract.h"

#include <cstdlib>
#include <new>
#include <unistd.h>

extern "C" void ocr_exit_when_out_of_memory(void) {
    std::set_new_handler([] { _exit(OCR_EXIT_OUT_OF_MEMORY); });
}

extern "C" int ocr_can_allocate(size_t size) {
    // Volatile, so that the compiler does not drop the pair as unused.
    void *volatile probe = std::malloc(size);
    if (probe == nullptr) {
        return 0;
    }
    std::free(probe);
    return 1;
}
