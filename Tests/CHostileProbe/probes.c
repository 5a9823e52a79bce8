#define _GNU_SOURCE
#include "CHostileProbe.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int closed(int descriptor) {
    if (descriptor < 0) return errno;
    close(descriptor);
    return 0;
}

int probe_open_for_reading(const char *path) {
    int descriptor = open(path, O_RDONLY);
    if (descriptor < 0) return errno;
    char byte;
    int error = read(descriptor, &byte, 1) < 0 ? errno : 0;
    close(descriptor);
    return error;
}

int probe_open_for_writing(const char *path) { return closed(open(path, O_RDWR)); }
int probe_create(const char *path) { return closed(open(path, O_WRONLY | O_CREAT | O_EXCL, 0600)); }
int probe_make_directory(const char *path) { return mkdir(path, 0700) == 0 ? 0 : errno; }
int probe_rename(const char *from, const char *to) { return rename(from, to) == 0 ? 0 : errno; }
int probe_unlink(const char *path) { return unlink(path) == 0 ? 0 : errno; }
int probe_truncate(const char *path) { return truncate(path, 0) == 0 ? 0 : errno; }
int probe_socket(int family) { return closed(socket(family, SOCK_STREAM, 0)); }
int probe_memory_file(void) { return closed(memfd_create("probe", 0)); }

static int reaped(pid_t child) {
    if (child < 0) return errno;
    if (child == 0) _exit(0);
    waitpid(child, NULL, 0);
    return 0;
}

int probe_fork(void) { return reaped(fork()); }

int probe_fork_by_clone3(void) {
    uint64_t arguments[8] = {0};
    arguments[4] = SIGCHLD;
    return reaped((pid_t)syscall(435, arguments, sizeof arguments));
}

static void *nothing(void *argument) { return argument; }

int probe_thread(void) {
    pthread_t thread;
    int error = pthread_create(&thread, NULL, nothing, NULL);
    if (error == 0) pthread_join(thread, NULL);
    return error;
}

int probe_signal(int process) { return kill(process, 0) == 0 ? 0 : errno; }

int probe_exec(const char *shell_command) {
    execl("/bin/sh", "sh", "-c", shell_command, (char *)NULL);
    return errno;
}

int probe_ptrace(void) { return ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0 ? 0 : errno; }

int probe_io_uring(void) {
    char parameters[120] = {0};
    return closed((int)syscall(425, 1, parameters));
}

int probe_bpf(void) { return syscall(321, 0, NULL, 0) < 0 ? errno : 0; }

int probe_executable_memory(void) {
    void *memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return errno;
    munmap(memory, 4096);
    return 0;
}

int probe_raise_file_size_limit(void) {
    struct rlimit limits = {1 << 20, 1 << 20};
    return setrlimit(RLIMIT_FSIZE, &limits) == 0 ? 0 : errno;
}

void probe_ignore_signals(void) {
    for (int number = 1; number < 32; number++) signal(number, SIG_IGN);
}
