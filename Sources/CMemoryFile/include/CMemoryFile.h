// System calls on files in memory, and of space on disk, that Swift's Glibc module does not have.

#ifndef C_MEMORY_FILE_H
#define C_MEMORY_FILE_H

#include <stdint.h>

/// A new file in memory, open for reading and writing, closed on exec. -1 and errno when there is none to be had.
int memory_file_create(const char *name);

/// Makes the bytes and the size of a file in memory unchangeable, for every descriptor of it. 0, or -1 and errno.
int memory_file_seal(int descriptor);

/// Whether a file is sealed as `memory_file_seal` does it.
int memory_file_is_sealed(int descriptor);

/// Takes the space that the first `byte_count` bytes of a file need on its disk. 0, or -1 and errno.
int disk_space_take(int descriptor, int64_t byte_count);

#endif
