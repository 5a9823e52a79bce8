// What happens when memory runs out.

#include <cstdlib>
#include <new>

#include <unistd.h>

#include "CTesseract.h"

extern "C" void ocr_exit_when_out_of_memory(void) {
    std::set_new_handler([] { _exit(OCR_EXIT_OUT_OF_MEMORY); });
}

extern "C" bool ocr_can_allocate(size_t byte_count) {
    // Volatile: the optimiser may otherwise drop the pair and answer yes.
    void *volatile block = std::malloc(byte_count);
    const bool possible = block != nullptr;
    std::free(block);
    return possible;
}
