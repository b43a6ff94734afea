#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "internal.h"

static struct csup_inherited inherited;
static int capture_read = -1;
static int capture_write = -1;
static atomic_uint continuations;

static void remember_signals(void) {
    sigprocmask(SIG_SETMASK, NULL, &inherited.mask);
    for (int signal = 1; signal < NSIG; signal++) {
        struct sigaction action;
        inherited.ignored[signal] = sigaction(signal, NULL, &action) == 0 && action.sa_handler == SIG_IGN;
    }
}

// Before main, and so before anything else can have changed them.
__attribute__((constructor)) static void remember(void) {
    remember_signals();
    // A reader of this program's output that goes away must not end it, and with it the command. Libraries that write to
    // sockets ask for the same; the command gets what this program was started with.
    if (!inherited.ignored[SIGPIPE]) signal(SIGPIPE, SIG_IGN);
}

const struct csup_inherited *csup_inherited(void) {
    return &inherited;
}

bool csup_ignored_at_start(int signal) {
    return signal > 0 && signal < NSIG && inherited.ignored[signal];
}

static void captured(int signal) {
    int saved = errno;
    unsigned char number = (unsigned char)signal;
    if (signal == SIGCONT) atomic_fetch_add(&continuations, 1);
    (void)!write(capture_write, &number, 1);
    errno = saved;
}

int csup_capture_descriptor(void) {
    if (capture_read >= 0) return capture_read;
    int ends[2];
    if (csup_pipe(ends) < 0) return -1;
    for (int i = 0; i < 2; i++) fcntl(ends[i], F_SETFL, O_NONBLOCK);
    capture_write = ends[1];
    capture_read = ends[0];
    return capture_read;
}

int csup_capture(int signal) {
    if (csup_ignored_at_start(signal)) return 0;
    struct sigaction action = {.sa_handler = captured, .sa_flags = SA_RESTART};
    return sigaction(signal, &action, NULL) < 0 ? errno : 0;
}

void csup_signal_own_group(int signal) {
    struct sigaction ignore = {.sa_handler = SIG_IGN}, previous;
    sigaction(signal, &ignore, &previous);
    kill(0, signal);
    sigaction(signal, &previous, NULL);
}

static void set_default(int signal, struct sigaction *previous) {
    struct sigaction standard = {.sa_handler = SIG_DFL};
    sigaction(signal, &standard, previous);
}

bool csup_stop_own_group(int signal) {
    if (csup_ignored_at_start(signal)) return false;
    unsigned continuations_before = atomic_load(&continuations);
    struct sigaction previous;
    sigset_t only, mask;
    sigemptyset(&only);
    sigaddset(&only, signal);
    // A shell may continue the group as soon as it sees one of the others stopped, and then this process must not stop
    // any more. So its own signal is made pending first, for this thread, which will not get past unblocking it; if
    // SIGCONT comes before that, the system drops it.
    pthread_sigmask(SIG_BLOCK, &only, &mask);
    set_default(signal, &previous);
    raise(signal);
    kill(0, signal);
    pthread_sigmask(SIG_UNBLOCK, &only, NULL);
    pthread_sigmask(SIG_SETMASK, &mask, NULL);
    sigaction(signal, &previous, NULL);
    // The handler of the SIGCONT that ended the stop may run in another thread, and so a little later than this.
    int64_t until_ns = csup_now_ns() + 50 * 1000 * 1000;
    while (atomic_load(&continuations) == continuations_before) {
        if (csup_now_ns() > until_ns) return false;
        poll(NULL, 0, 1);
    }
    return true;
}

void csup_die_of(int signal) {
    if (csup_ignored_at_start(signal)) return;
    struct rlimit no_core;
    if (getrlimit(RLIMIT_CORE, &no_core) == 0) {
        no_core.rlim_cur = 0;
        setrlimit(RLIMIT_CORE, &no_core);
    }
    sigset_t only;
    sigemptyset(&only);
    sigaddset(&only, signal);
    set_default(signal, NULL);
    pthread_sigmask(SIG_UNBLOCK, &only, NULL);
    raise(signal);
}

int csup_set_foreground(int terminal, pid_t group) {
    sigset_t only, mask;
    sigemptyset(&only);
    sigaddset(&only, SIGTTOU);
    pthread_sigmask(SIG_BLOCK, &only, &mask);
    int error = tcsetpgrp(terminal, group) < 0 ? errno : 0;
    pthread_sigmask(SIG_SETMASK, &mask, NULL);
    return error;
}
