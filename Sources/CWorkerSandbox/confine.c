// How a worker gives up its rights. Order in the worker: limits, no_new_privs, Landlock, seccomp.

#define _GNU_SOURCE
#include "CWorkerSandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

int worker_die_with_parent(pid_t parent) {
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) return errno;
    // The parent may have died before the request was made.
    return getppid() == parent ? 0 : ESRCH;
}

static int limit(int resource, rlim_t soft, rlim_t hard) {
    struct rlimit value = {soft, hard};
    return setrlimit(resource, &value) == 0 ? 0 : errno;
}

int worker_set_limits(uint64_t memory_bytes) {
    int result = limit(RLIMIT_CORE, 0, 0);
    if (result == 0) result = limit(RLIMIT_FSIZE, 0, 0);
    if (result == 0) result = limit(RLIMIT_NOFILE, 64, 64);
    if (result == 0) result = limit(RLIMIT_AS, memory_bytes, memory_bytes);
    return result;
}

int worker_limit_cpu(uint64_t seconds) {
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) != 0) return errno;
    uint64_t used = (uint64_t)usage.ru_utime.tv_sec + (uint64_t)usage.ru_stime.tv_sec + 1;
    return limit(RLIMIT_CPU, used + seconds, RLIM_INFINITY);
}

int worker_no_new_privileges(void) { return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 ? 0 : errno; }

// Landlock by its system call numbers and layout: older kernel headers lack the newer fields.
#define LANDLOCK_CREATE_RULESET 444
#define LANDLOCK_ADD_RULE 445
#define LANDLOCK_RESTRICT_SELF 446
#define LANDLOCK_RULE_BENEATH 1
#define LANDLOCK_FS_READ_FILE (1ULL << 2)
#define LANDLOCK_FS_READ_DIR (1ULL << 3)

struct ruleset_attributes {
    uint64_t handled_fs;
    uint64_t handled_net;
    uint64_t scoped;
};

struct beneath_attributes {
    uint64_t allowed;
    int32_t parent;
} __attribute__((packed));

int worker_landlock(const char *directory) {
    long abi = syscall(LANDLOCK_CREATE_RULESET, NULL, 0, 1 /* ask for the version */);
    if (abi <= 0) return 0;
    struct ruleset_attributes attributes = {0, 0, 0};
    // Rights of the file system: 13 in the first ABI, then refer, truncate, device ioctl.
    unsigned rights = abi >= 5 ? 16 : abi >= 3 ? 15 : abi >= 2 ? 14 : 13;
    attributes.handled_fs = (1ULL << rights) - 1;
    size_t size = sizeof(uint64_t);
    if (abi >= 4) {
        attributes.handled_net = 3;
        size = 2 * sizeof(uint64_t);
    }
    if (abi >= 6) {
        attributes.scoped = 3;
        size = 3 * sizeof(uint64_t);
    }
    int ruleset = (int)syscall(LANDLOCK_CREATE_RULESET, &attributes, size, 0);
    if (ruleset < 0) return -errno;
    int result = (int)abi;
    int parent = open(directory, O_PATH | O_CLOEXEC);
    if (parent < 0) {
        result = -errno;
    } else {
        struct beneath_attributes rule = {LANDLOCK_FS_READ_FILE | LANDLOCK_FS_READ_DIR, parent};
        if (syscall(LANDLOCK_ADD_RULE, ruleset, LANDLOCK_RULE_BENEATH, &rule, 0) != 0) result = -errno;
        close(parent);
    }
    if (result > 0 && syscall(LANDLOCK_RESTRICT_SELF, ruleset, 0) != 0) result = -errno;
    close(ruleset);
    return result;
}

// The filter is a list of what recognition needs; everything else fails with EPERM, so that a library that merely
// probes goes on. New processes and programs are no probe: they end the worker.

#if defined(__x86_64__)
#define FILTER_ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define FILTER_ARCHITECTURE AUDIT_ARCH_AARCH64
#else
#error "no system call filter for this architecture"
#endif

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define LOAD_ARGUMENT(n) \
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args) + (n) * sizeof(uint64_t))
#define ANSWER(value) BPF_STMT(BPF_RET | BPF_K, (value))
#define ALLOW(name) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_##name, 0, 1), ANSWER(SECCOMP_RET_ALLOW)
#define KILL(name) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_##name, 0, 1), ANSWER(SECCOMP_RET_KILL_PROCESS)
#define REFUSE (SECCOMP_RET_ERRNO | EPERM)
// Flags that let a file be written or made.
#define WRITING (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC | O_APPEND)
// Allowed if the argument has none of the bits.
#define ALLOW_WITHOUT(name, argument, bits)                                                                     \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_##name, 0, 4), LOAD_ARGUMENT(argument),                            \
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, (bits), 0, 1), ANSWER(REFUSE), ANSWER(SECCOMP_RET_ALLOW)
#define ALLOW_IF(name, argument, value)                                                                         \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_##name, 0, 4), LOAD_ARGUMENT(argument),                            \
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (value), 1, 0), ANSWER(REFUSE), ANSWER(SECCOMP_RET_ALLOW)

int worker_seccomp(void) {
    struct sock_filter filter[] = {
        LOAD(arch),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, FILTER_ARCHITECTURE, 1, 0),
        ANSWER(SECCOMP_RET_KILL_PROCESS),
        LOAD(nr),
        // Memory and time.
        ALLOW(mmap), ALLOW(munmap), ALLOW(mremap), ALLOW(mprotect), ALLOW(madvise), ALLOW(brk), ALLOW(futex),
        ALLOW(clock_gettime), ALLOW(clock_getres), ALLOW(clock_nanosleep), ALLOW(nanosleep), ALLOW(gettimeofday),
        ALLOW(getrandom), ALLOW(sched_yield), ALLOW(sched_getaffinity), ALLOW(getrusage), ALLOW(sysinfo), ALLOW(uname),
        ALLOW(getpid), ALLOW(gettid), ALLOW(getppid), ALLOW(set_robust_list), ALLOW(rt_sigaction),
        ALLOW(rt_sigprocmask), ALLOW(rt_sigreturn), ALLOW(sigaltstack), ALLOW(restart_syscall), ALLOW(exit),
        ALLOW(exit_group),
#ifdef __NR_rseq
        ALLOW(rseq),
#endif
        // Limits of its own (the CPU limit of each job): pid 0 is the process itself.
        ALLOW_IF(prlimit64, 0, 0),
        // Its descriptors.
        ALLOW(read), ALLOW(pread64), ALLOW(readv), ALLOW(write), ALLOW(writev), ALLOW(lseek), ALLOW(close),
        ALLOW(fstat), ALLOW(newfstatat), ALLOW(statx), ALLOW(recvmsg), ALLOW(sendmsg), ALLOW(ppoll), ALLOW(faccessat),
        ALLOW(fcntl),
#ifdef __NR_poll
        ALLOW(poll),
#endif
#ifdef __NR_access
        ALLOW(access),
#endif
#ifdef __NR_stat
        ALLOW(stat),
#endif
        // Models are opened for reading; Landlock says which.
        ALLOW_WITHOUT(openat, 2, WRITING),
#ifdef __NR_open
        ALLOW_WITHOUT(open, 1, WRITING),
#endif
        // abort() sends a signal to itself; nobody else gets one.
        ALLOW_IF(tgkill, 0, (uint32_t)getpid()),
        KILL(execve), KILL(execveat), KILL(ptrace),
#ifdef __NR_fork
        KILL(fork), KILL(vfork),
#endif
        ANSWER(REFUSE),
    };
    struct sock_fprog program = {sizeof filter / sizeof filter[0], filter};
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0 ? 0 : errno;
}
