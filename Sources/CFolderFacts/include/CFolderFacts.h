// What Linux knows of files and folders beyond what Swift's overlay of the C library has.
#ifndef C_FOLDER_FACTS_H
#define C_FOLDER_FACTS_H

#include <stdint.h>

/// The inode of the folder at a path, and when it was made (nanoseconds since 1970; 0 where the file system does not
/// say). Returns 0, or -1 with errno.
int folder_identity(const char *path, uint64_t *number, int64_t *made_nanoseconds);

/// Whether an open file or folder is on a file system that other machines write to: 1, or 0.
int is_on_network(int descriptor);

/// Whether some process has the file of a descriptor (opened for reading) open for writing: 1 yes, 0 no, -1 not known.
int has_writer(int descriptor);

#endif
