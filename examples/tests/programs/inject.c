/* Runs a program and lets one of its calls that change files fail.
 *
 *     inject FOLDER LOG N PROGRAM ARGUMENTS...
 *
 * Every call on a file below FOLDER that creates, writes, cuts, flushes, renames or links comes to
 * LOG, a line each: its kind and its paths, with tabs between. The N-th of them fails, once; none
 * does if N is 0. A write that fails leaves half of its bytes, as a disk that is full may. The exit
 * status is that of the program, and 128 and the signal's number if a signal ended it.
 *
 * It uses ptrace, since some of the calls come from no C library that could be replaced. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *folder;
static FILE *list;
static long fails, calls;
/* The thread whose call fails, and what that call is to return. */
static pid_t failing;
static long failure;

static void stop(const char *what) {
    perror(what);
    exit(125);
}

/* Reads a string of the program's memory, up to the end of a page where that is not mapped. */
static void string_at(pid_t thread, unsigned long address, char *text) {
    size_t have = 0;
    while (have < PATH_MAX - 1) {
        size_t count = 4096 - (address + have) % 4096;
        if (count > PATH_MAX - 1 - have) count = PATH_MAX - 1 - have;
        struct iovec here = {text + have, count}, there = {(void *)(address + have), count};
        if (process_vm_readv(thread, &here, 1, &there, 1, 0) != (ssize_t)count) break;
        if (memchr(text + have, 0, count)) return;
        have += count;
    }
    text[have] = 0;
}

static void path_of(pid_t thread, long descriptor, char *text) {
    char link[64];
    snprintf(link, sizeof link, "/proc/%d/fd/%ld", thread, descriptor);
    ssize_t length = readlink(link, text, PATH_MAX - 1);
    text[length < 0 ? 0 : length] = 0;
}

static int is_below(const char *path) {
    size_t length = strlen(folder);
    return !strncmp(path, folder, length) && (!path[length] || path[length] == '/');
}

/* What a call does: its kind, its paths and what it returns if it fails; NULL for all others. */
static const char *kind_of(pid_t t, struct user_regs_struct *r, char *path, char *to, int *code) {
    *code = EIO;
    *path = *to = 0;
    switch (r->orig_rax) {
    case SYS_write: case SYS_writev: case SYS_pwrite64: case SYS_pwritev:
        path_of(t, r->rdi, path);
        *code = ENOSPC;
        return "write";
    case SYS_ftruncate: case SYS_fallocate:
        path_of(t, r->rdi, path);
        *code = ENOSPC;
        return "cut";
    case SYS_fsync: case SYS_fdatasync:
        path_of(t, r->rdi, path);
        return "flush";
    case SYS_fchmod:
        path_of(t, r->rdi, path);
        return "mode";
    case SYS_chmod:
        string_at(t, r->rdi, path);
        return "mode";
    case SYS_open:
        string_at(t, r->rdi, path);
        *code = ENOSPC;
        return r->rsi & O_CREAT ? "create" : NULL;
    case SYS_openat:
        string_at(t, r->rsi, path);
        *code = ENOSPC;
        return r->rdx & O_CREAT ? "create" : NULL;
    case SYS_mkdir:
        string_at(t, r->rdi, path);
        *code = ENOSPC;
        return "folder";
    case SYS_rename: case SYS_link:
        string_at(t, r->rdi, path);
        string_at(t, r->rsi, to);
        return r->orig_rax == SYS_link ? "link" : "rename";
    case SYS_renameat: case SYS_renameat2: case SYS_linkat:
        string_at(t, r->rsi, path);
        string_at(t, r->r10, to);
        return r->orig_rax == SYS_linkat ? "link" : "rename";
    default:
        return NULL;
    }
}

static void enters(pid_t thread) {
    static char path[PATH_MAX], to[PATH_MAX];
    struct user_regs_struct registers;
    int code;
    if (ptrace(PTRACE_GETREGS, thread, 0, &registers)) return;
    const char *kind = kind_of(thread, &registers, path, to, &code);
    if (!kind || !is_below(*to ? to : path)) return;
    fprintf(list, *to ? "%s\t%s\t%s\n" : "%s\t%s\n", kind, path, to);
    if (++calls != fails) return;
    failing = thread;
    failure = -code;
    if (registers.orig_rax == SYS_write) registers.rdx /= 2;
    else registers.orig_rax = -1;
    if (ptrace(PTRACE_SETREGS, thread, 0, &registers)) stop("changing a call");
}

static void leaves(pid_t thread) {
    struct user_regs_struct registers;
    if (thread != failing) return;
    failing = 0;
    if (ptrace(PTRACE_GETREGS, thread, 0, &registers)) stop("reading a call");
    registers.rax = failure;
    if (ptrace(PTRACE_SETREGS, thread, 0, &registers)) stop("changing a result");
}

int main(int count, char **arguments) {
    if (count < 5) return 125;
    folder = arguments[1];
    list = fopen(arguments[2], "w");
    if (!list) stop(arguments[2]);
    fails = atol(arguments[3]);
    pid_t program = fork();
    if (!program) {
        ptrace(PTRACE_TRACEME, 0, 0, 0);
        raise(SIGSTOP);
        execv(arguments[4], arguments + 4);
        stop(arguments[4]);
    }
    int status;
    if (waitpid(program, &status, 0) != program || !WIFSTOPPED(status)) stop("starting");
    long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC |
                   PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_EXITKILL;
    if (ptrace(PTRACE_SETOPTIONS, program, 0, options)) stop("tracing");
    ptrace(PTRACE_SYSCALL, program, 0, 0);
    for (;;) {
        pid_t thread = waitpid(-1, &status, __WALL);
        if (thread < 0) stop("waiting");
        if (WIFEXITED(status) || WIFSIGNALED(status)) {
            if (thread != program) continue;
            if (fclose(list)) stop(arguments[2]);
            return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        }
        int signal = WSTOPSIG(status), pass = 0;
        if (signal == (SIGTRAP | 0x80)) {
            struct __ptrace_syscall_info info;
            ptrace(PTRACE_GET_SYSCALL_INFO, thread, sizeof info, &info);
            if (info.op == PTRACE_SYSCALL_INFO_ENTRY) enters(thread);
            else leaves(thread);
        } else if (signal != SIGTRAP && signal != SIGSTOP) {
            pass = signal;
        }
        ptrace(PTRACE_SYSCALL, thread, 0, pass);
    }
}
