// Landlock: the worker may read beneath the model directory and do nothing else with any file, whatever its user may do.
//
// The constants are written out because the installed kernel headers may be older than the running kernel. Rights are
// only ever taken from what the running kernel's ABI knows, so that an older kernel gets the most it can enforce.
#define _GNU_SOURCE
#include "CWorkerSandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/types.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_add_rule 445
#define SYS_landlock_restrict_self 446
#endif

enum {
    ruleset_version_flag = 1,
    rule_path_beneath = 1,
};

#define ACCESS_READ_FILE (1ULL << 2)
#define ACCESS_READ_DIRECTORY (1ULL << 3)

struct ruleset_attributes {
    __u64 handled_access_fs;
    __u64 handled_access_net;
    __u64 scoped;
};

struct path_beneath_attributes {
    __u64 allowed_access;
    __s32 parent_descriptor;
} __attribute__((packed));

int worker_landlock_enter(const char *const readable[], size_t readable_count, int32_t *abi) {
    *abi = 0;
    long version = syscall(SYS_landlock_create_ruleset, NULL, 0, ruleset_version_flag);
    if (version < 0) return -errno;

    struct ruleset_attributes attributes = {0};
    size_t size = sizeof(__u64);
    attributes.handled_access_fs = (1ULL << 13) - 1;              // ABI 1: execute, read, write, remove, make
    if (version >= 2) attributes.handled_access_fs |= 1ULL << 13; // refer
    if (version >= 3) attributes.handled_access_fs |= 1ULL << 14; // truncate
    if (version >= 4) {
        attributes.handled_access_net = 3; // TCP bind and connect
        size = 2 * sizeof(__u64);
    }
    if (version >= 5) attributes.handled_access_fs |= 1ULL << 15; // ioctl on devices
    if (version >= 6) {
        attributes.scoped = 3; // abstract Unix sockets and signals outside of the sandbox
        size = 3 * sizeof(__u64);
    }
    long ruleset = syscall(SYS_landlock_create_ruleset, &attributes, size, 0);
    if (ruleset < 0) return -errno;

    int error = 0;
    for (size_t index = 0; index < readable_count && error == 0; index++) {
        int descriptor = open(readable[index], O_PATH | O_CLOEXEC);
        // What is not there needs no permission; the recogniser says by itself that a model is missing.
        if (descriptor < 0) continue;
        struct stat status;
        struct path_beneath_attributes rule = {
            .allowed_access = ACCESS_READ_FILE,
            .parent_descriptor = descriptor,
        };
        if (fstat(descriptor, &status) == 0 && S_ISDIR(status.st_mode)) rule.allowed_access |= ACCESS_READ_DIRECTORY;
        if (syscall(SYS_landlock_add_rule, (int)ruleset, rule_path_beneath, &rule, 0) != 0) error = -errno;
        close(descriptor);
    }
    if (error == 0 && syscall(SYS_landlock_restrict_self, (int)ruleset, 0) != 0) error = -errno;
    close((int)ruleset);
    if (error == 0) *abi = (int32_t)version;
    return error;
}
