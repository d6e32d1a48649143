/* SPDX-License-Identifier: MIT
 *
 * What the library never does: a child process that the kernel kills for any of
 * the system calls below loads the library and computes. (Linux only)
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/audit.h>
#include <signal.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "faults.h"
#include "filters.h"

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#else
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#endif

static const struct {
  const char* name;
  unsigned number;
} never[] = {
#define CALL(name) {#name, __NR_##name}
    /* where and when threads run */
    CALL(sched_setaffinity),
    CALL(sched_setscheduler),
    CALL(sched_setparam),
    CALL(sched_setattr),
    CALL(setpriority),
    CALL(ioprio_set),
    /* where memory is placed and what stays resident */
    CALL(mbind),
    CALL(set_mempolicy),
    CALL(migrate_pages),
    CALL(move_pages),
    CALL(mlock),
    CALL(mlock2),
    CALL(mlockall),
    CALL(munlock),
    CALL(munlockall),
    /* limits, identity, session, working directory */
    CALL(setrlimit),
    CALL(setuid),
    CALL(setgid),
    CALL(setresuid),
    CALL(setresgid),
    CALL(setsid),
    CALL(setpgid),
    CALL(chdir),
    CALL(chroot),
    CALL(unshare),
    CALL(setns),
    /* network, programs, files */
    CALL(socket),
    CALL(connect),
    CALL(bind),
    CALL(execve),
    CALL(execveat),
    CALL(ptrace),
    CALL(mkdirat),
    CALL(unlinkat),
    CALL(renameat2),
    CALL(linkat),
    CALL(symlinkat),
    CALL(truncate),
    CALL(ftruncate),
    /* timers and profiles */
    CALL(setitimer),
    CALL(timer_create),
    CALL(perf_event_open),
    CALL(bpf),
#if defined(__x86_64__)
    CALL(fork),
    CALL(vfork),
    CALL(mkdir),
    CALL(unlink),
    CALL(rename),
    CALL(creat),
    CALL(alarm),
#endif
#undef CALL
};
enum { CALLS = sizeof never / sizeof never[0] };

/* Makes the kernel kill the process for the calls first <= i < end of the list.
 */
static void forbid(int first, int end) {
  struct sock_filter code[2 * CALLS + 8];
  int i, n = 0;
  code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
                                           offsetof(struct seccomp_data, arch));
  code[n++] = (struct sock_filter)BPF_JUMP(
      BPF_JMP | BPF_JEQ | BPF_K, ARCHITECTURE, 1, 0);
  code[n++] =
      (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
  code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
                                           offsetof(struct seccomp_data, nr));
  for (i = first; i < end; i++) {
    code[n++] = (struct sock_filter)BPF_JUMP(
        BPF_JMP | BPF_JEQ | BPF_K, never[i].number, 0, 1);
    code[n++] =
        (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
  }
  code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  install_filter(code, (size_t)n);
}

/* Everything that a program does with the library. The pauses let its threads
 * fall asleep, since waking them is when affinity could be set. */
static void compute(const char* path) {
  int round;
  int32_t op;
  open_library(path);
  for (op = NATTEN_MPS_ATTN_FORWARD; op <= NATTEN_MPS_ATTN_BACKWARD; op++) {
    work w = new_work(op, 64, 4);
    make_plan(&w);
    for (round = 0; round < 12; round++) {
      run_plan(&w);
      usleep(20000);
    }
    free_work(&w);
  }
}

/* Returns the exit status of a child that may not make the calls, or minus the
 * signal that ended it. */
static int outcome(const char* path, int first, int end) {
  int status;
  pid_t child = fork();
  if (child == 0) {
    forbid(first, end);
    compute(path);
    exit(0);
  }
  if (child < 0 || waitpid(child, &status, 0) != child) fail("fork", "failed");
  return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

int main(int count, char** arguments) {
  int i, result, found = 0;
  if (count != 2) fail("usage", "never LIBRARY");
  result = outcome(arguments[1], 0, CALLS);
  if (result == 77) {
    fprintf(stderr, "no system call filters here\n");
    return 77;
  }
  if (result == 0) return 0;
  for (i = 0; i < CALLS; i++)
    if ((result = outcome(arguments[1], i, i + 1)) != 0) {
      fprintf(stderr, "%s: the child ended with %d\n", never[i].name, result);
      found++;
    }
  if (found == 0) fail("the child", "ended without a forbidden call");
  return 1;
}
