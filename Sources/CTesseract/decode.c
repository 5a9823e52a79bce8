// Bytes to leptonica images.

#include <leptonica/allheaders.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tiffio.h>

#include "CTesseract.h"

void ocr_leptonica_version(char *buffer, size_t capacity) {
    char *version = getLeptonicaVersion();
    if (capacity > 0) {
        strncpy(buffer, version != NULL ? version : "leptonica", capacity - 1);
        buffer[capacity - 1] = 0;
    }
    lept_free(version);
}

static PIX *pix_of(const ocr_image *image) { return (PIX *)image; }

ocr_image *ocr_image_decode(const uint8_t *bytes, size_t byte_count) {
    // pixReadMem and not the reader of one format: it notes the format in the Pix, by which Tesseract decides whether
    // an alpha channel is blended away.
    return (ocr_image *)pixReadMem(bytes, byte_count);
}

ocr_image *ocr_image_decode_tiff(const uint8_t *bytes, size_t byte_count, uint64_t directory_offset) {
    size_t offset = (size_t)directory_offset;
    PIX *pix = pixReadMemFromMultipageTiff(bytes, byte_count, &offset);
    if (pix != NULL) pixSetInputFormat(pix, IFF_TIFF);
    return (ocr_image *)pix;
}

// MARK: libtiff over memory

struct memory_file {
    const uint8_t *bytes;
    uint64_t count;
    uint64_t position;
};

static tmsize_t memory_read(thandle_t handle, void *buffer, tmsize_t wanted) {
    struct memory_file *file = handle;
    if (wanted <= 0 || file->position >= file->count) return 0;
    const uint64_t left = file->count - file->position;
    const uint64_t count = (uint64_t)wanted < left ? (uint64_t)wanted : left;
    memcpy(buffer, file->bytes + file->position, count);
    file->position += count;
    return (tmsize_t)count;
}

static tmsize_t memory_write(thandle_t handle, void *buffer, tmsize_t count) {
    (void)handle, (void)buffer, (void)count;
    return -1;
}

static toff_t memory_seek(thandle_t handle, toff_t offset, int whence) {
    struct memory_file *file = handle;
    switch (whence) {
    case SEEK_CUR: file->position += offset; break;
    case SEEK_END: file->position = file->count + offset; break;
    default: file->position = offset; break;
    }
    return file->position;
}

static int memory_close(thandle_t handle) {
    (void)handle;
    return 0;
}

static toff_t memory_size(thandle_t handle) {
    const struct memory_file *file = handle;
    return file->count;
}

// A "mapped" file is read in place; libtiff 4.5 also refuses some sound tiles of files that are not.
static int memory_map(thandle_t handle, void **base, toff_t *size) {
    const struct memory_file *file = handle;
    *base = (void *)(uintptr_t)file->bytes;
    *size = file->count;
    return 1;
}

static void memory_unmap(thandle_t handle, void *base, toff_t size) { (void)handle, (void)base, (void)size; }

// leptonica takes libtiff's handlers away; this one prints to where the messages are kept back.
static void print_error(const char *module, const char *format, va_list arguments) {
    if (module != NULL) fprintf(stderr, "%s: ", module);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
}

static int resolution_of(TIFF *tiff) {
    float resolution = 0;
    uint16_t unit = RESUNIT_INCH;
    if (!TIFFGetField(tiff, TIFFTAG_YRESOLUTION, &resolution)) return 0;
    TIFFGetFieldDefaulted(tiff, TIFFTAG_RESOLUTIONUNIT, &unit);
    if (unit == RESUNIT_CENTIMETER) resolution *= 2.54f;
    // Also false for a NaN.
    return resolution > 0 && resolution < 1e6f ? (int)(resolution + 0.5f) : 0;
}

ocr_image *ocr_image_decode_tiff_rgba(const uint8_t *bytes, size_t byte_count, uint64_t directory_offset) {
    struct memory_file file = {bytes, byte_count, 0};
    TIFFSetWarningHandler(NULL);
    TIFFSetErrorHandler(print_error);
    TIFF *tiff = TIFFClientOpen(
        "image", "r", &file, memory_read, memory_write, memory_seek, memory_close, memory_size, memory_map,
        memory_unmap);
    if (tiff == NULL) return NULL;
    PIX *pix = NULL;
    uint32_t width = 0, height = 0;
    if (TIFFSetSubDirectory(tiff, directory_offset) && TIFFGetField(tiff, TIFFTAG_IMAGEWIDTH, &width)
        && TIFFGetField(tiff, TIFFTAG_IMAGELENGTH, &height) && width > 0 && height > 0 && width < (1u << 30)
        && height < (1u << 30)) {
        pix = pixCreate((l_int32)width, (l_int32)height, 32);
    }
    if (pix != NULL) {
        // A 32-bit Pix has no padding, so that it can serve as the raster.
        uint32_t *pixels = pixGetData(pix);
        if (TIFFReadRGBAImageOriented(tiff, width, height, pixels, ORIENTATION_TOPLEFT, 1)) {
            const size_t count = (size_t)width * height;
            for (size_t index = 0; index < count; index++) {
                const uint32_t pixel = pixels[index];
                pixels[index] = (uint32_t)TIFFGetR(pixel) << L_RED_SHIFT | (uint32_t)TIFFGetG(pixel) << L_GREEN_SHIFT
                                | (uint32_t)TIFFGetB(pixel) << L_BLUE_SHIFT;
            }
            pixSetSpp(pix, 3);
            pixSetInputFormat(pix, IFF_TIFF);
            const int resolution = resolution_of(tiff);
            pixSetResolution(pix, resolution, resolution);
        } else {
            pixDestroy(&pix);
        }
    }
    TIFFClose(tiff);
    return (ocr_image *)pix;
}

// MARK: Pixels

ocr_image *ocr_image_grey(int width, int height, int resolution) {
    PIX *pix = pixCreate(width, height, 8);
    if (pix != NULL) pixSetResolution(pix, resolution, resolution);
    return (ocr_image *)pix;
}

uint8_t *ocr_image_grey_rows(ocr_image *image, size_t *row_byte_count) {
    *row_byte_count = 4 * (size_t)pixGetWpl(pix_of(image));
    return (uint8_t *)pixGetData(pix_of(image));
}

void ocr_image_grey_filled(ocr_image *image) { pixEndianByteSwap(pix_of(image)); }

ocr_image *ocr_image_turned(ocr_image *image, int quarter_turns, bool mirrored) {
    PIX *pix = pix_of(image);
    if (quarter_turns % 4 != 0) {
        PIX *turned = pixRotateOrth(pix, quarter_turns % 4);
        if (turned != NULL && quarter_turns % 2 != 0) {
            pixSetResolution(turned, pixGetYRes(pix), pixGetXRes(pix));
        }
        pixDestroy(&pix);
        pix = turned;
    }
    if (pix != NULL && mirrored && pixFlipLR(pix, pix) == NULL) pixDestroy(&pix);
    return (ocr_image *)pix;
}

void ocr_image_free(ocr_image *image) {
    PIX *pix = pix_of(image);
    pixDestroy(&pix);
}

int ocr_image_width(const ocr_image *image) { return pixGetWidth(pix_of(image)); }
int ocr_image_height(const ocr_image *image) { return pixGetHeight(pix_of(image)); }
int ocr_image_resolution(const ocr_image *image) { return pixGetYRes(pix_of(image)); }
void ocr_image_forget_resolution(ocr_image *image) { pixSetResolution(pix_of(image), 0, 0); }

uint32_t ocr_image_pixel(const ocr_image *image, int x, int y) {
    PIX *colour = pixConvertTo32(pix_of(image));
    l_uint32 pixel = 0;
    if (colour != NULL) pixGetPixel(colour, x, y, &pixel);
    pixDestroy(&colour);
    return pixel >> 8;
}
