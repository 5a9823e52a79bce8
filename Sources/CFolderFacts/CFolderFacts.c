#define _GNU_SOURCE
#include "CFolderFacts.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/vfs.h>

int folder_identity(const char *path, uint64_t *number, int64_t *made_nanoseconds) {
    struct statx facts;
    if (statx(AT_FDCWD, path, 0, STATX_INO | STATX_TYPE | STATX_BTIME, &facts) != 0) return -1;
    if (!S_ISDIR(facts.stx_mode)) {
        errno = ENOTDIR;
        return -1;
    }
    *number = facts.stx_ino;
    *made_nanoseconds = 0;
    if (facts.stx_mask & STATX_BTIME) {
        int64_t nanoseconds;
        if (!__builtin_mul_overflow((int64_t)facts.stx_btime.tv_sec, (int64_t)1000000000, &nanoseconds))
            *made_nanoseconds = nanoseconds + facts.stx_btime.tv_nsec;
    }
    return 0;
}

int is_on_network(int descriptor) {
    struct statfs facts;
    if (fstatfs(descriptor, &facts) != 0) return 0;
    switch ((uint32_t)facts.f_type) {
    case NFS_SUPER_MAGIC:
    case SMB_SUPER_MAGIC:
    case 0xFE534D42u: // SMB2
    case 0xFF534D42u: // CIFS
    case AFS_SUPER_MAGIC:
    case CODA_SUPER_MAGIC:
    case 0x00C36400u: // Ceph
    case 0x0BD00BD0u: // Lustre
    case 0x01161970u: // GFS2
    case 0x7461636Fu: // OCFS2
    case 0x47504653u: // GPFS
    case 0x65735546u: // FUSE: may be anything
    case V9FS_MAGIC:
        return 1;
    default:
        return 0;
    }
}

int has_writer(int descriptor) {
    // Whoever opens the file for writing while the lease is held makes the kernel send a signal; one that is ignored by
    // default, for SIGIO would end the process.
    if (fcntl(descriptor, F_SETSIG, SIGURG) != 0) return -1;
    if (fcntl(descriptor, F_SETLEASE, F_RDLCK) != 0) return errno == EAGAIN ? 1 : -1;
    fcntl(descriptor, F_SETLEASE, F_UNLCK);
    return 0;
}
