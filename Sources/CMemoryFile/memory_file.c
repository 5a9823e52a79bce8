#define _GNU_SOURCE
#include "CMemoryFile.h"

#include <fcntl.h>
#include <sys/mman.h>

static const int every_seal = F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL;

int memory_file_create(const char *name) { return memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING); }

int memory_file_seal(int descriptor) { return fcntl(descriptor, F_ADD_SEALS, every_seal); }

int memory_file_is_sealed(int descriptor) {
    int seals = fcntl(descriptor, F_GET_SEALS);
    return seals >= 0 && (seals & every_seal) == every_seal;
}

int disk_space_take(int descriptor, int64_t byte_count) { return fallocate(descriptor, 0, 0, byte_count); }
