#define _GNU_SOURCE
#include "CFolderSync.h"

#include <unistd.h>

int folder_sync(int descriptor) { return syncfs(descriptor); }
