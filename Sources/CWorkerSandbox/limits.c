// Child side: the parent's death, niceness and resource limits.
#define _GNU_SOURCE
#include "CWorkerSandbox.h"

#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

int worker_die_with_parent(pid_t parent) {
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0) return -errno;
    // The parent may have ended before the line above: then nobody will send the signal.
    return getppid() == parent ? 0 : -ESRCH;
}

void worker_set_name(const char *name) { (void)prctl(PR_SET_NAME, name, 0, 0, 0); }

int worker_set_niceness(int niceness) {
    errno = 0;
    return nice(niceness) == -1 && errno != 0 ? -errno : 0;
}

static int limit(int resource, rlim_t value) {
    struct rlimit limits;
    if (getrlimit((__rlimit_resource_t)resource, &limits) != 0) return -errno;
    if (limits.rlim_max != RLIM_INFINITY && value > limits.rlim_max) value = limits.rlim_max;
    limits.rlim_cur = value;
    limits.rlim_max = value;
    return setrlimit((__rlimit_resource_t)resource, &limits) == 0 ? 0 : -errno;
}

// RLIMIT_NPROC is left alone: it counts all processes and threads of the user, so that any value but 0 depends on what
// else the user runs, and 0 would forbid a recogniser its threads; the filter refuses new processes instead.
int worker_limit_resources(uint64_t address_space_bytes, uint64_t descriptor_count) {
    int first = 0;
    int error = limit(RLIMIT_CORE, 0);
    if (error != 0) first = error;
    error = limit(RLIMIT_FSIZE, 0);
    if (error != 0 && first == 0) first = error;
    error = limit(RLIMIT_NOFILE, (rlim_t)descriptor_count);
    if (error != 0 && first == 0) first = error;
    if (address_space_bytes > 0) {
        error = limit(RLIMIT_AS, (rlim_t)address_space_bytes);
        if (error != 0 && first == 0) first = error;
    }
    return first;
}

int worker_limit_cpu_from_now(uint64_t seconds) {
    struct rlimit limits;
    if (getrlimit(RLIMIT_CPU, &limits) != 0) return -errno;
    if (seconds == 0) {
        limits.rlim_cur = limits.rlim_max;
    } else {
        struct rusage usage;
        if (getrusage(RUSAGE_SELF, &usage) != 0) return -errno;
        // Rounded up, so that a page never gets less than its budget.
        rlim_t used = (rlim_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) + 1;
        rlim_t wanted = used + (rlim_t)seconds;
        limits.rlim_cur = limits.rlim_max != RLIM_INFINITY && wanted > limits.rlim_max ? limits.rlim_max : wanted;
    }
    return setrlimit(RLIMIT_CPU, &limits) == 0 ? 0 : -errno;
}

static void out_of_memory(void) { _exit(WORKER_OUT_OF_MEMORY_STATUS); }

// std::set_new_handler by its symbol (the Itanium C++ ABI's name): the target stays C, and weak where no C++ runtime is
// linked.
extern void (*_ZSt15set_new_handlerPFvvE(void (*)(void)))(void) __attribute__((weak));

int worker_install_new_handler(void) {
    if (_ZSt15set_new_handlerPFvvE == NULL) return -ENOSYS;
    _ZSt15set_new_handlerPFvvE(out_of_memory);
    return 0;
}
