// syncfs, which glibc shows only to those that ask for GNU's functions.

#ifndef CFOLDERSYNC_H
#define CFOLDERSYNC_H

// Makes durable what was written to the file system of an open file or folder. Returns 0, or -1 and sets errno.
int folder_sync(int descriptor);

#endif
