// What Swift cannot call by itself on Linux: variadic system calls, the control messages of a Unix socket, seccomp,
// Landlock, and a spawn that closes every descriptor it does not hand over.
//
// Every function returns 0 (or a count) on success and a negative errno on failure; none of them exits or prints.
#ifndef C_WORKER_SANDBOX_H
#define C_WORKER_SANDBOX_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/// The descriptor at which a worker finds its socket.
#define WORKER_SOCKET_DESCRIPTOR 3
/// Exit status of a worker whose C++ allocation failed.
#define WORKER_OUT_OF_MEMORY_STATUS 77

/// What is in force after `worker_sandbox_enter`.
struct worker_sandbox_report {
    /// Landlock ABI in force; 0 where the kernel has none.
    int32_t landlock_abi;
    /// errno of what Landlock refused; 0 when it is in force.
    int32_t landlock_error;
    /// 1 when the system call filter is in force.
    int32_t seccomp;
    int32_t seccomp_error;
    /// 1 when no_new_privs is set.
    int32_t no_new_privs;
    /// 1 when the process holds no capability.
    int32_t no_capabilities;
};

// Parent side.

/// Starts `path` with /dev/null as standard input and output, `error_descriptor` as standard error and `socket` at
/// WORKER_SOCKET_DESCRIPTOR; every other descriptor is closed, every signal is unblocked and at its default.
/// `socket` and `error_descriptor` must be above WORKER_SOCKET_DESCRIPTOR.
int worker_spawn(
    pid_t *pid, const char *path, char *const arguments[], char *const environment[], int socket, int error_descriptor);

/// Starts `path` in a session of its own with `log_descriptor` as standard output and error.
int worker_spawn_detached(
    pid_t *pid, const char *path, char *const arguments[], char *const environment[], int log_descriptor);

/// A connected pair of stream sockets, both close-on-exec and above WORKER_SOCKET_DESCRIPTOR.
int worker_socket_pair(int descriptors[2]);
/// A pipe, both ends close-on-exec and above WORKER_SOCKET_DESCRIPTOR, the read end (0) non-blocking.
int worker_pipe(int descriptors[2]);
/// A descriptor that becomes readable when the process ends, or a negative errno (before Linux 5.3).
int worker_pid_descriptor(pid_t pid);

/// An event descriptor, close-on-exec and non-blocking: writing 8 bytes makes it readable until it is read.
int worker_wake_descriptor(void);

/// Sends bytes and, where `descriptor` is not negative, that descriptor with the first of them. Never raises SIGPIPE,
/// never blocks. Returns how many bytes went out.
ssize_t worker_send(int socket, const void *bytes, size_t count, int descriptor);

/// Waits for a child; `cpu_seconds` is the processor time that it used. `options` are those of wait4. Returns the pid,
/// 0 when WNOHANG found it alive, or a negative errno. `*code` is the exit status, or the signal when `*signalled`.
pid_t worker_wait(pid_t pid, int options, int *signalled, int *code, double *cpu_seconds);

// Child side.

/// Receives up to `count` bytes, blocking; a descriptor that came along is stored (close-on-exec), or -1. Descriptors
/// beyond one are refused by the kernel.
ssize_t worker_receive(int socket, void *bytes, size_t count, int *descriptor);

/// SIGKILL when the thread that spawned this process ends. Fails with ESRCH when `parent` is no longer the parent.
int worker_die_with_parent(pid_t parent);

/// The name that `top` shows: at most 15 bytes.
void worker_set_name(const char *name);

/// Adds to the niceness. Failure is of no consequence to correctness.
int worker_set_niceness(int niceness);

/// Limits that hold for the life of the worker; `address_space_bytes` 0 leaves memory unlimited.
int worker_limit_resources(uint64_t address_space_bytes, uint64_t descriptor_count);

/// SIGXCPU after `seconds` of processor time from now, counted in whole seconds; 0 takes the limit away.
int worker_limit_cpu_from_now(uint64_t seconds);

/// Makes a failed C++ allocation exit with WORKER_OUT_OF_MEMORY_STATUS instead of throwing through C and Swift frames.
/// Returns 0, or -ENOSYS where no C++ runtime is linked.
int worker_install_new_handler(void);

/// Enters the sandbox for good: no capabilities, no_new_privs, Landlock with read access beneath `readable` only, and
/// the system call filter. What the kernel does not offer is left out and reported.
void worker_sandbox_enter(
    const char *const readable[], size_t readable_count, struct worker_sandbox_report *report);

// Parts of worker_sandbox_enter.
int worker_landlock_enter(const char *const readable[], size_t readable_count, int32_t *abi);
int worker_seccomp_enter(void);

#endif
