// The plainest possible loop over Tesseract's C API: what the recogniser's texts are compared with, byte for byte, and
// what its speed is measured against. Shares no code with it on purpose.
//
// bare-loop --tessdata DIR [--jobs N] [--handles-kept] [--output DIR | --null]
//
// Standard input: one image a line, LANGUAGE<TAB>PATH. Text goes to OUTPUT/<index>.txt, index counted from 0, pages
// joined by a form feed; an image that cannot be read gives no file and a line on standard error. A summary goes to
// standard output. For trusted files only: it checks nothing.

#define _GNU_SOURCE
#include <leptonica/allheaders.h>
#include <tesseract/capi.h>

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { most_languages = 64, most_pages = 10000 };

struct job {
    char *language;
    char *path;
};

struct handle {
    char *language;
    TessBaseAPI *api;
    TessPageSegMode mode;
};

struct totals {
    atomic_size_t next;
    atomic_size_t failed;
};

static const char *tessdata;
static const char *output;
static bool handles_kept;

static void *checked(void *memory) {
    if (memory == NULL) {
        fprintf(stderr, "bare-loop: out of memory\n");
        exit(1);
    }
    return memory;
}

static struct job *read_jobs(size_t *count) {
    struct job *jobs = NULL;
    size_t capacity = 0;
    char *line = NULL;
    size_t line_capacity = 0;
    ssize_t length;
    *count = 0;
    while ((length = getline(&line, &line_capacity, stdin)) > 0) {
        if (line[length - 1] == '\n') line[--length] = 0;
        char *tab = strchr(line, '\t');
        if (tab == NULL) continue;
        *tab = 0;
        if (*count == capacity) {
            capacity = capacity * 2 + 64;
            jobs = checked(realloc(jobs, capacity * sizeof *jobs));
        }
        jobs[*count].language = checked(strdup(line));
        jobs[*count].path = checked(strdup(tab + 1));
        *count += 1;
    }
    free(line);
    return jobs;
}

static struct handle *handle_for(const char *language) {
    static struct handle handles[most_languages];
    static size_t count;
    for (size_t index = 0; index < count; index++) {
        if (strcmp(handles[index].language, language) == 0) return &handles[index];
    }
    if (count == most_languages || (count == 1 && !handles_kept)) {
        for (size_t index = 0; index < count; index++) {
            TessBaseAPIDelete(handles[index].api);
            free(handles[index].language);
        }
        count = 0;
    }
    TessBaseAPI *api = TessBaseAPICreate();
    TessBaseAPISetVariable(api, "debug_file", "/dev/null");
    if (TessBaseAPIInit4(api, tessdata, language, OEM_LSTM_ONLY, NULL, 0, NULL, NULL, 0, 0) != 0) {
        TessBaseAPIDelete(api);
        return NULL;
    }
    struct handle *handle = &handles[count++];
    handle->language = checked(strdup(language));
    handle->api = api;
    handle->mode = TessBaseAPIGetPageSegMode(api);
    if (handle->mode == PSM_SINGLE_BLOCK) handle->mode = PSM_AUTO;
    return handle;
}

static unsigned char *read_file(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    if (file == NULL) return NULL;
    unsigned char *bytes = NULL;
    if (fseek(file, 0, SEEK_END) == 0) {
        const long length = ftell(file);
        if (length > 0 && fseek(file, 0, SEEK_SET) == 0) {
            bytes = checked(malloc((size_t)length));
            *size = fread(bytes, 1, (size_t)length, file);
        }
    }
    fclose(file);
    return bytes;
}

static unsigned number(const unsigned char *at, int count, bool big_endian) {
    unsigned value = 0;
    for (int index = 0; index < count; index++) value |= (unsigned)at[index] << 8 * (big_endian ? count - 1 - index : index);
    return value;
}

// EXIF orientation of a JPEG, 1 if it has none.
static int orientation_of(const unsigned char *bytes, size_t size) {
    size_t at = 2;
    while (at + 4 <= size && bytes[at] == 0xFF && bytes[at + 1] != 0xDA) {
        const size_t length = number(bytes + at + 2, 2, true);
        if (bytes[at + 1] == 0xE1 && at + 2 + length <= size && length > 16 && memcmp(bytes + at + 4, "Exif\0", 6) == 0) {
            const unsigned char *exif = bytes + at + 10;
            const size_t exif_size = length - 8;
            const bool big_endian = exif[0] == 'M';
            const size_t directory = number(exif + 4, 4, big_endian);
            if (directory + 2 > exif_size) return 1;
            const unsigned entries = number(exif + directory, 2, big_endian);
            for (unsigned index = 0; index < entries; index++) {
                const size_t entry = directory + 2 + 12 * (size_t)index;
                if (entry + 12 > exif_size) return 1;
                if (number(exif + entry, 2, big_endian) == 274) return (int)number(exif + entry + 8, 2, big_endian);
            }
        }
        at += 2 + length;
    }
    return 1;
}

static PIX *upright(PIX *pix, int orientation) {
    static const struct {
        int turns;
        bool mirrored;
    } moves[9] = {{0, 0}, {0, 0}, {0, 1}, {2, 0}, {2, 1}, {1, 1}, {1, 0}, {3, 1}, {3, 0}};
    if (pix == NULL || orientation < 2 || orientation > 8) return pix;
    PIX *turned = pixRotateOrth(pix, moves[orientation].turns);
    pixDestroy(&pix);
    if (moves[orientation].mirrored) pixFlipLR(turned, turned);
    return turned;
}

static bool recognise(struct handle *handle, PIX *pix, FILE *file) {
    TessBaseAPISetPageSegMode(handle->api, handle->mode);
    TessBaseAPISetImage2(handle->api, pix);
    pixDestroy(&pix);
    char *text = TessBaseAPIRecognize(handle->api, NULL) == 0 ? TessBaseAPIGetUTF8Text(handle->api) : NULL;
    if (text != NULL && file != NULL) fputs(text, file);
    const bool done = text != NULL;
    TessDeleteText(text);
    TessBaseAPIClear(handle->api);
    return done;
}

static bool run(const struct job *job, size_t index) {
    size_t size = 0;
    unsigned char *bytes = read_file(job->path, &size);
    if (bytes == NULL) return false;
    struct handle *handle = handle_for(job->language);
    bool done = false;
    if (handle != NULL && size > 4) {
        FILE *file = NULL;
        char *name = NULL;
        if (output != NULL && asprintf(&name, "%s/%zu.txt", output, index) > 0) file = fopen(name, "wb");
        const bool is_tiff = memcmp(bytes, "II", 2) == 0 || memcmp(bytes, "MM", 2) == 0;
        size_t offset = 0;
        int page = 0;
        do {
            PIX *pix = is_tiff ? pixReadMemFromMultipageTiff(bytes, size, &offset) : pixReadMem(bytes, size);
            if (bytes[0] == 0xFF && bytes[1] == 0xD8) pix = upright(pix, orientation_of(bytes, size));
            if (page > 0 && file != NULL) fputc('\f', file);
            done = pix != NULL && recognise(handle, pix, file);
            page += 1;
        } while (done && offset != 0 && page < most_pages);
        if (file != NULL) fclose(file);
        if (!done && name != NULL) unlink(name);
        free(name);
    }
    free(bytes);
    return done;
}

static void work(const struct job *jobs, size_t count, struct totals *totals) {
    setMsgSeverity(L_SEVERITY_NONE);
    for (size_t index; (index = atomic_fetch_add(&totals->next, 1)) < count;) {
        if (run(&jobs[index], index)) continue;
        atomic_fetch_add(&totals->failed, 1);
        fprintf(stderr, "bare-loop: %zu: %s: no text\n", index, jobs[index].path);
    }
}

static int usage(void) {
    fprintf(stderr, "usage: bare-loop --tessdata DIR [--jobs N] [--handles-kept] [--output DIR | --null] < LIST\n");
    return 64;
}

int main(int argc, char **argv) {
    // OpenMP reads its limit before main does anything: threads inside of one page cost more than they bring.
    const char *limit = getenv("OMP_THREAD_LIMIT");
    if (limit == NULL || strcmp(limit, "1") != 0) {
        setenv("OMP_THREAD_LIMIT", "1", 1);
        execv("/proc/self/exe", argv);
        fprintf(stderr, "bare-loop: cannot start again: %s\n", strerror(errno));
        return 1;
    }
    long processes = 1;
    for (int index = 1; index < argc; index++) {
        const char *const option = argv[index];
        const char *const value = index + 1 < argc ? argv[index + 1] : NULL;
        if (strcmp(option, "--handles-kept") == 0) {
            handles_kept = true;
        } else if (strcmp(option, "--null") == 0) {
            output = NULL;
        } else if (value != NULL && strcmp(option, "--tessdata") == 0) {
            tessdata = value, index++;
        } else if (value != NULL && strcmp(option, "--output") == 0) {
            output = value, index++;
        } else if (value != NULL && strcmp(option, "--jobs") == 0) {
            processes = strtol(value, NULL, 10), index++;
        } else {
            return usage();
        }
    }
    if (tessdata == NULL || processes < 1 || processes > 1024) return usage();
    size_t count = 0;
    struct job *jobs = read_jobs(&count);
    struct totals *totals = mmap(NULL, sizeof *totals, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (totals == MAP_FAILED) {
        fprintf(stderr, "bare-loop: no shared memory\n");
        return 1;
    }
    struct timespec start, end;
    clock_gettime(CLOCK_MONOTONIC, &start);
    for (long process = 0; process < processes; process++) {
        const pid_t child = fork();
        if (child == 0) {
            work(jobs, count, totals);
            _exit(0);
        }
        if (child < 0) {
            fprintf(stderr, "bare-loop: cannot fork: %s\n", strerror(errno));
            return 1;
        }
    }
    bool crashed = false;
    for (int status; wait(&status) > 0;) crashed = crashed || !WIFEXITED(status) || WEXITSTATUS(status) != 0;
    clock_gettime(CLOCK_MONOTONIC, &end);
    const double seconds = (double)(end.tv_sec - start.tv_sec) + (double)(end.tv_nsec - start.tv_nsec) / 1e9;
    printf(
        "images %zu failed %zu processes %ld seconds %.3f images_per_second %.3f\n", count,
        (size_t)atomic_load(&totals->failed), processes, seconds, seconds > 0 ? (double)count / seconds : 0);
    return crashed ? 1 : 0;
}
