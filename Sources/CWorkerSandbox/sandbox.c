// Entering the sandbox: everything that is irrevocable, in the order in which it must happen.
#define _GNU_SOURCE
#include "CWorkerSandbox.h"

#include <errno.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

// A node may run as root (in a container it mostly does): without capabilities its workers are nobody in particular.
static int drop_capabilities(void) {
    for (int capability = 0; capability < 64; capability++) {
        if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0) break;
    }
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    struct __user_cap_data_struct data[2];
    memset(data, 0, sizeof data);
    return syscall(SYS_capset, &header, data) == 0 ? 0 : -errno;
}

void worker_sandbox_enter(
    const char *const readable[], size_t readable_count, struct worker_sandbox_report *report) {
    memset(report, 0, sizeof *report);
    report->no_capabilities = drop_capabilities() == 0;
    // Before the filter: without it, only a privileged process may install one.
    report->no_new_privs = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0;
    int32_t abi = 0;
    report->landlock_error = -worker_landlock_enter(readable, readable_count, &abi);
    report->landlock_abi = abi;
    report->seccomp_error = -worker_seccomp_enter();
    report->seccomp = report->seccomp_error == 0;
}
