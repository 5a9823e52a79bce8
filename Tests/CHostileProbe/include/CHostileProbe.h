// What an image that took over a worker would try. Every function returns 0 when the attempt succeeded (and undoes it),
// or the errno with which it was refused; some end the process instead when the sandbox is in force.
#ifndef C_HOSTILE_PROBE_H
#define C_HOSTILE_PROBE_H

int probe_open_for_reading(const char *path);
int probe_open_for_writing(const char *path);
int probe_create(const char *path);
int probe_make_directory(const char *path);
int probe_rename(const char *from, const char *to);
int probe_unlink(const char *path);
int probe_truncate(const char *path);
int probe_socket(int family);
int probe_memory_file(void);
int probe_fork(void);
int probe_fork_by_clone3(void);
int probe_thread(void);
int probe_signal(int process);
/// Becomes a shell that exits with `status`.
int probe_exec(const char *shell_command);
int probe_ptrace(void);
int probe_io_uring(void);
int probe_bpf(void);
int probe_executable_memory(void);
int probe_raise_file_size_limit(void);
void probe_ignore_signals(void);

#endif
