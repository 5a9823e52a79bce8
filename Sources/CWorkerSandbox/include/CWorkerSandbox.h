// What a confined worker process needs from the kernel and Swift cannot say: spawning with closed descriptors, passing a
// descriptor over a socket, seccomp, Landlock, prctl.

#ifndef CWORKERSANDBOX_H
#define CWORKERSANDBOX_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/// Descriptor number of the socket to the node in a worker.
#define WORKER_SOCKET 3

/// Starts `path` with the socket at WORKER_SOCKET, /dev/null as standard input and output, `error_descriptor` as
/// standard error and every other descriptor closed. Returns 0 or an errno; `process` is set on success.
int worker_spawn(const char *path, char *const arguments[], char *const environment[], int socket_descriptor,
                 int error_descriptor, pid_t *process);

/// Starts `path` in a session of its own, with `log_descriptor` as standard output and error. Returns 0 or an errno.
int worker_spawn_detached(const char *path, char *const arguments[], char *const environment[], int log_descriptor,
                          pid_t *process);

/// A pair of connected stream sockets, close-on-exec. Returns 0 or an errno.
int worker_socket_pair(int descriptors[2]);

/// A pipe whose ends are close-on-exec and whose reading end does not block. Returns 0 or an errno.
int worker_error_pipe(int descriptors[2]);

/// Sends all of `bytes`, the first part together with `descriptor` unless that is negative. Returns 0 or an errno.
int worker_send(int socket_descriptor, const void *bytes, size_t count, int descriptor);

/// Receives up to `count` bytes; a descriptor that came along is put into `descriptor` (else -1).
/// Returns bytes received, 0 at the end, or -errno.
ssize_t worker_receive(int socket_descriptor, void *bytes, size_t count, int *descriptor);

/// Asks the kernel for SIGKILL when the parent's thread ends, and checks that the parent is still `parent`.
int worker_die_with_parent(pid_t parent);

/// Memory, file, process and core limits. Returns 0 or an errno.
int worker_set_limits(uint64_t memory_bytes);

/// Lets the CPU limit strike `seconds` of CPU time from now. Returns 0 or an errno.
int worker_limit_cpu(uint64_t seconds);

int worker_no_new_privileges(void);

/// Allows reading below `directory` and no other use of the file system. Returns the ABI in force, 0 when the kernel
/// has no Landlock, or -errno.
int worker_landlock(const char *directory);

/// Installs the system call filter. Returns 0 or an errno.
int worker_seccomp(void);

/// Waits for a process without blocking. Returns 1 when it has ended (`status`, `cpu_microseconds` set), 0 if not yet,
/// -errno on error.
int worker_reap(pid_t process, int block, int *status, uint64_t *cpu_microseconds);

#endif
