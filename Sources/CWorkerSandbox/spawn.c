// Parent side: starting a worker and waiting for its end.
#define _GNU_SOURCE
#include "CWorkerSandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

int worker_spawn(
    pid_t *pid, const char *path, char *const arguments[], char *const environment[], int socket,
    int error_descriptor) {
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    int error = posix_spawn_file_actions_init(&actions);
    if (error != 0) return -error;
    error = posix_spawnattr_init(&attributes);
    if (error != 0) {
        posix_spawn_file_actions_destroy(&actions);
        return -error;
    }
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    if (error == 0) error = posix_spawnattr_setsigmask(&attributes, &none);
    // An ignored signal stays ignored across exec: a worker must be killable by SIGXCPU whatever the node ignores.
    if (error == 0) error = posix_spawnattr_setsigdefault(&attributes, &all);
    // An own process group: Ctrl-C at a terminal is for the node, which then decides about its workers.
    if (error == 0) error = posix_spawnattr_setpgroup(&attributes, 0);
    if (error == 0) {
        error = posix_spawnattr_setflags(
            &attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
    }
    if (error == 0) error = posix_spawn_file_actions_adddup2(&actions, error_descriptor, STDERR_FILENO);
    if (error == 0) error = posix_spawn_file_actions_adddup2(&actions, socket, WORKER_SOCKET_DESCRIPTOR);
    if (error == 0) error = posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    if (error == 0) error = posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    if (error == 0) error = posix_spawn_file_actions_addclosefrom_np(&actions, WORKER_SOCKET_DESCRIPTOR + 1);
    if (error == 0) error = posix_spawn(pid, path, &actions, &attributes, arguments, environment);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return -error;
}

// Moves both descriptors out of the range that worker_spawn writes to: a node started with closed standard streams
// would otherwise get them there.
static int move_above(int descriptors[2]) {
    for (int index = 0; index < 2; index++) {
        if (descriptors[index] > WORKER_SOCKET_DESCRIPTOR) continue;
        int moved = fcntl(descriptors[index], F_DUPFD_CLOEXEC, WORKER_SOCKET_DESCRIPTOR + 1);
        if (moved < 0) {
            int error = errno;
            close(descriptors[0]);
            close(descriptors[1]);
            return -error;
        }
        close(descriptors[index]);
        descriptors[index] = moved;
    }
    return 0;
}

int worker_socket_pair(int descriptors[2]) {
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, descriptors) != 0) return -errno;
    return move_above(descriptors);
}

int worker_pipe(int descriptors[2]) {
    if (pipe2(descriptors, O_CLOEXEC) != 0) return -errno;
    int error = move_above(descriptors);
    if (error != 0) return error;
    if (fcntl(descriptors[0], F_SETFL, O_NONBLOCK) != 0) {
        error = errno;
        close(descriptors[0]);
        close(descriptors[1]);
        return -error;
    }
    return 0;
}

int worker_pid_descriptor(pid_t pid) {
#ifdef SYS_pidfd_open
    long descriptor = syscall(SYS_pidfd_open, pid, 0);
    return descriptor < 0 ? -errno : (int)descriptor;
#else
    (void)pid;
    return -ENOSYS;
#endif
}

pid_t worker_wait(pid_t pid, int options, int *signalled, int *code, double *cpu_seconds) {
    int status = 0;
    struct rusage usage;
    pid_t found;
    do {
        found = wait4(pid, &status, options, &usage);
    } while (found < 0 && errno == EINTR);
    if (found < 0) return -errno;
    if (found == 0) return 0;
    *signalled = WIFSIGNALED(status) ? 1 : 0;
    *code = WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status);
    *cpu_seconds = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec)
        + (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
    return found;
}

int worker_spawn_detached(
    pid_t *pid, const char *path, char *const arguments[], char *const environment[], int log_descriptor) {
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    int error = posix_spawn_file_actions_init(&actions);
    if (error != 0) return -error;
    error = posix_spawnattr_init(&attributes);
    if (error == 0) {
        error = posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID);
        if (error == 0) error = posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
        if (error == 0) error = posix_spawn_file_actions_adddup2(&actions, log_descriptor, STDOUT_FILENO);
        if (error == 0) error = posix_spawn_file_actions_adddup2(&actions, log_descriptor, STDERR_FILENO);
        if (error == 0) error = posix_spawn_file_actions_addclosefrom_np(&actions, STDERR_FILENO + 1);
        if (error == 0) error = posix_spawn(pid, path, &actions, &attributes, arguments, environment);
        posix_spawnattr_destroy(&attributes);
    }
    posix_spawn_file_actions_destroy(&actions);
    return -error;
}
