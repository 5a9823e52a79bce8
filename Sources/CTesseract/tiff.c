#include "CTesseract.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tiffio.h>

static char last_error[300];

static void keep_error(const char *module, const char *format, va_list arguments) {
    (void)module;
    vsnprintf(last_error, sizeof last_error, format, arguments);
}

void ocr_silence_libraries(void) {
    setMsgSeverity(L_SEVERITY_NONE);
    TIFFSetErrorHandler(keep_error);
    TIFFSetWarningHandler(NULL);
}

const char *ocr_last_tiff_error(void) { return last_error; }

void ocr_clear_tiff_error(void) { last_error[0] = '\0'; }

typedef struct {
    const uint8_t *data;
    size_t size;
    size_t position;
} memory_file;

static tmsize_t memory_read(thandle_t handle, void *buffer, tmsize_t count) {
    memory_file *file = (memory_file *)handle;
    if (count < 0 || file->position >= file->size) {
        return 0;
    }
    size_t left = file->size - file->position;
    size_t taken = (size_t)count < left ? (size_t)count : left;
    memcpy(buffer, file->data + file->position, taken);
    file->position += taken;
    return (tmsize_t)taken;
}

static tmsize_t memory_write(thandle_t handle, void *buffer, tmsize_t count) {
    (void)handle;
    (void)buffer;
    (void)count;
    return 0;
}

static toff_t memory_seek(thandle_t handle, toff_t offset, int whence) {
    memory_file *file = (memory_file *)handle;
    toff_t base = whence == SEEK_CUR ? file->position : whence == SEEK_END ? file->size : 0;
    file->position = (size_t)(base + offset);
    return file->position;
}

static int memory_close(thandle_t handle) {
    (void)handle;
    return 0;
}

static toff_t memory_size(thandle_t handle) { return ((memory_file *)handle)->size; }

PIX *ocr_read_tiff_rgba(const uint8_t *data, size_t size, uint64_t directory_offset) {
    memory_file file = {data, size, 0};
    TIFF *tiff = TIFFClientOpen("image", "rm", (thandle_t)&file, memory_read, memory_write, memory_seek, memory_close,
                                memory_size, NULL, NULL);
    if (tiff == NULL) {
        return NULL;
    }
    PIX *pix = NULL;
    uint32_t width = 0;
    uint32_t height = 0;
    float resolution = 0;
    uint16_t unit = RESUNIT_INCH;
    if (TIFFSetSubDirectory(tiff, directory_offset) && TIFFGetField(tiff, TIFFTAG_IMAGEWIDTH, &width) &&
        TIFFGetField(tiff, TIFFTAG_IMAGELENGTH, &height) && width > 0 && height > 0 && width <= 32767 &&
        height <= 32767) {
        uint32_t *raster = (uint32_t *)_TIFFmalloc((tmsize_t)width * height * (tmsize_t)sizeof(uint32_t));
        if (raster != NULL && TIFFReadRGBAImageOriented(tiff, width, height, raster, ORIENTATION_TOPLEFT, 1)) {
            pix = pixCreate((l_int32)width, (l_int32)height, 32);
        }
        if (pix != NULL) {
            l_uint32 *words = pixGetData(pix);
            l_int32 words_per_line = pixGetWpl(pix);
            for (uint32_t y = 0; y < height; y++) {
                const uint32_t *source = raster + (size_t)y * width;
                l_uint32 *line = words + (size_t)y * (size_t)words_per_line;
                for (uint32_t x = 0; x < width; x++) {
                    composeRGBPixel((l_int32)TIFFGetR(source[x]), (l_int32)TIFFGetG(source[x]),
                                    (l_int32)TIFFGetB(source[x]), line + x);
                }
            }
            if (TIFFGetField(tiff, TIFFTAG_YRESOLUTION, &resolution) && resolution > 0 && resolution < 100000) {
                TIFFGetFieldDefaulted(tiff, TIFFTAG_RESOLUTIONUNIT, &unit);
                float per_inch = unit == RESUNIT_CENTIMETER ? resolution * 2.54f : resolution;
                pixSetResolution(pix, (l_int32)(per_inch + 0.5f), (l_int32)(per_inch + 0.5f));
            }
        }
        if (raster != NULL) {
            _TIFFfree(raster);
        }
    }
    TIFFClose(tiff);
    return pix;
}
