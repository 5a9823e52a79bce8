// The system calls of a worker: an allow-list.
//
// An allow-list, because a deny-list is out of date with the next kernel. Three answers:
// - allowed: memory, threads, time, signals to itself, reading, writing to what is open already, opening for reading
//   (Landlock decides which files), and asking for the metadata of a name (the C library does so in many places; it tells
//   whether a file exists, and the only way out for that is the text of a result);
// - EPERM, the answer to everything not named: libraries probe (isatty, a socket to a name service, a fork for a
//   helper) and go on without; ENOSYS for the two calls whose arguments cannot be looked at (they are in memory), so that
//   the C library falls back to their older forms, which can;
// - the process is killed: calls that no decoder and no runtime ever tries and that an intruder needs (running a program,
//   reaching into another process, loading code into the kernel, changing the view of the file system). Going on after
//   such an attempt would mean to take results from a process that is no longer ours.
#define _GNU_SOURCE
#include "CWorkerSandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#define FILTER_ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define FILTER_ARCHITECTURE AUDIT_ARCH_AARCH64
#endif

// Numbers that are the same on every architecture and that older headers lack.
#ifndef SYS_openat2
#define SYS_openat2 437
#endif
#ifndef SYS_clone3
#define SYS_clone3 435
#endif

#ifdef FILTER_ARCHITECTURE

static const int allowed_calls[] = {
    SYS_read, SYS_readv, SYS_pread64, SYS_preadv, SYS_write, SYS_writev, SYS_lseek, SYS_close, SYS_fadvise64,
    SYS_sendmsg, SYS_sendto, SYS_recvmsg, SYS_recvfrom, SYS_ppoll, SYS_fstat, SYS_newfstatat, SYS_statx, SYS_faccessat,
    SYS_getdents64, SYS_munmap, SYS_mremap, SYS_madvise, SYS_brk, SYS_rt_sigaction, SYS_rt_sigprocmask,
    SYS_rt_sigreturn, SYS_sigaltstack, SYS_futex, SYS_set_robust_list, SYS_get_robust_list, SYS_set_tid_address,
    SYS_sched_yield, SYS_sched_getaffinity, SYS_getcpu, SYS_membarrier, SYS_clock_gettime, SYS_clock_getres,
    SYS_gettimeofday, SYS_clock_nanosleep, SYS_nanosleep, SYS_getpid, SYS_gettid, SYS_getppid, SYS_getuid, SYS_geteuid,
    SYS_getgid, SYS_getegid, SYS_getrusage, SYS_getrlimit, SYS_setrlimit, SYS_times, SYS_uname, SYS_sysinfo,
    SYS_getrandom, SYS_exit, SYS_exit_group, SYS_restart_syscall,
#ifdef SYS_poll
    SYS_poll,
#endif
#ifdef SYS_stat
    SYS_stat, SYS_lstat, SYS_access,
#endif
#ifdef SYS_time
    SYS_time,
#endif
#ifdef SYS_arch_prctl
    SYS_arch_prctl,
#endif
#ifdef SYS_faccessat2
    SYS_faccessat2,
#endif
#ifdef SYS_rseq
    SYS_rseq,
#endif
};

static const int fatal_calls[] = {
    SYS_execve, SYS_execveat, SYS_ptrace, SYS_process_vm_readv, SYS_process_vm_writev, SYS_kcmp, SYS_bpf,
    SYS_perf_event_open, SYS_userfaultfd, SYS_mount, SYS_umount2, SYS_pivot_root, SYS_chroot, SYS_setns, SYS_unshare,
    SYS_open_by_handle_at, SYS_init_module, SYS_finit_module, SYS_delete_module, SYS_kexec_load, SYS_reboot, SYS_swapon,
    SYS_swapoff, SYS_add_key, SYS_request_key, SYS_keyctl, SYS_acct, SYS_quotactl,
#ifdef SYS_kexec_file_load
    SYS_kexec_file_load,
#endif
#ifdef SYS_iopl
    SYS_iopl, SYS_ioperm, SYS_modify_ldt,
#endif
#ifdef SYS_io_uring_setup
    SYS_io_uring_setup, SYS_io_uring_enter, SYS_io_uring_register,
#endif
#ifdef SYS_open_tree
    SYS_open_tree, SYS_move_mount, SYS_fsopen, SYS_fsconfig, SYS_fsmount, SYS_fspick,
#endif
#ifdef SYS_pidfd_getfd
    SYS_pidfd_getfd,
#endif
#ifdef SYS_pidfd_open
    SYS_pidfd_open, SYS_pidfd_send_signal,
#endif
};

enum { instruction_limit = 512 };

struct program {
    struct sock_filter instructions[instruction_limit];
    unsigned short count;
    int overflow;
};

static void emit(struct program *program, unsigned short code, unsigned char yes, unsigned char no, unsigned value) {
    if (program->count >= instruction_limit) {
        program->overflow = 1;
        return;
    }
    program->instructions[program->count++] = (struct sock_filter){code, yes, no, value};
}

static void load(struct program *program, size_t offset) {
    emit(program, BPF_LD | BPF_W | BPF_ABS, 0, 0, (unsigned)offset);
}

static void answer(struct program *program, unsigned action) { emit(program, BPF_RET | BPF_K, 0, 0, action); }

static void answer_call(struct program *program, int call, unsigned action) {
    emit(program, BPF_JMP | BPF_JEQ | BPF_K, 0, 1, (unsigned)call);
    answer(program, action);
}

// Allows `call` when (argument & mask) == value, comparing the low 32 bits: every argument filtered here is an int or
// has its meaning there. Both architectures are little-endian. Everything else of that call gets EPERM.
static void allow_call_if(struct program *program, int call, int argument, unsigned mask, unsigned value) {
    emit(program, BPF_JMP | BPF_JEQ | BPF_K, 0, 5, (unsigned)call);
    load(program, offsetof(struct seccomp_data, args) + 8 * (size_t)argument);
    emit(program, BPF_ALU | BPF_AND | BPF_K, 0, 0, mask);
    emit(program, BPF_JMP | BPF_JEQ | BPF_K, 0, 1, value);
    answer(program, SECCOMP_RET_ALLOW);
    answer(program, SECCOMP_RET_ERRNO | EPERM);
}

int worker_seccomp_enter(void) {
    // Every way of opening that could change a file; O_TMPFILE without its O_DIRECTORY bit.
    const unsigned writing = O_WRONLY | O_RDWR | O_CREAT | O_TRUNC | O_APPEND | (O_TMPFILE & ~O_DIRECTORY);
    const unsigned every_bit = ~0u;
    const unsigned self = (unsigned)getpid();
    static struct program program;
    program.count = 0;
    program.overflow = 0;

    load(&program, offsetof(struct seccomp_data, arch));
    emit(&program, BPF_JMP | BPF_JEQ | BPF_K, 1, 0, FILTER_ARCHITECTURE);
    answer(&program, SECCOMP_RET_KILL_PROCESS);
    load(&program, offsetof(struct seccomp_data, nr));
#if defined(__x86_64__)
    // The x32 numbers are a second set of names for the same calls.
    emit(&program, BPF_JMP | BPF_JGE | BPF_K, 0, 1, 0x40000000u);
    answer(&program, SECCOMP_RET_KILL_PROCESS);
#endif
    for (size_t index = 0; index < sizeof allowed_calls / sizeof allowed_calls[0]; index++) {
        answer_call(&program, allowed_calls[index], SECCOMP_RET_ALLOW);
    }
    for (size_t index = 0; index < sizeof fatal_calls / sizeof fatal_calls[0]; index++) {
        answer_call(&program, fatal_calls[index], SECCOMP_RET_KILL_PROCESS);
    }
    answer_call(&program, SYS_clone3, SECCOMP_RET_ERRNO | ENOSYS);
    answer_call(&program, SYS_openat2, SECCOMP_RET_ERRNO | ENOSYS);
    allow_call_if(&program, SYS_openat, 2, writing, 0);
#ifdef SYS_open
    allow_call_if(&program, SYS_open, 1, writing, 0);
#endif
    allow_call_if(&program, SYS_clone, 0, CLONE_THREAD, CLONE_THREAD);
    allow_call_if(&program, SYS_tgkill, 0, every_bit, self);
    allow_call_if(&program, SYS_prlimit64, 0, every_bit, 0);
    // All code is loaded by now: no memory becomes executable any more.
    allow_call_if(&program, SYS_mmap, 2, PROT_EXEC, 0);
    allow_call_if(&program, SYS_mprotect, 2, PROT_EXEC, 0);
    // Reading and setting flags of a descriptor, which are commands 1...4; neither locks nor owners nor leases.
    emit(&program, BPF_JMP | BPF_JEQ | BPF_K, 0, 5, SYS_fcntl);
    load(&program, offsetof(struct seccomp_data, args) + 8);
    emit(&program, BPF_JMP | BPF_JGE | BPF_K, 0, 2, F_GETFD);
    emit(&program, BPF_JMP | BPF_JGT | BPF_K, 1, 0, F_SETFL);
    answer(&program, SECCOMP_RET_ALLOW);
    answer(&program, SECCOMP_RET_ERRNO | EPERM);
    answer(&program, SECCOMP_RET_ERRNO | EPERM);
    if (program.overflow) return -E2BIG;

    struct sock_fprog filter = {.len = program.count, .filter = program.instructions};
    long result = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &filter);
    if (result < 0) return -errno;
    // A positive answer is a thread that could not be brought under the filter.
    return result == 0 ? 0 : -EBUSY;
}

#else

int worker_seccomp_enter(void) { return -ENOSYS; }

#endif
