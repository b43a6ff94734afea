#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include "internal.h"

#ifdef __linux__
#include <sys/prctl.h>
#endif

static bool dlock_is_dead(int socket) {
    struct pollfd entry = {.fd = socket, .events = 0};
    return poll(&entry, 1, 0) > 0 && (entry.revents & (POLLHUP | POLLERR)) != 0;
}

static void restore_dispositions(void) {
    const struct csup_inherited *inherited = csup_inherited();
    for (int signal = 1; signal < NSIG; signal++) {
        struct sigaction action = {.sa_handler = inherited->ignored[signal] ? SIG_IGN : SIG_DFL};
        sigaction(signal, &action, NULL);
    }
}

static int execute(struct csup_plan *plan) {
    char *const *arguments = (char *const *)plan->arguments;
    char *const *environment = (char *const *)plan->environment;
    int error = ENOENT;
    bool denied = false;
    bool lacks_interpreter = false;
    for (char **candidate = plan->candidates; *candidate; candidate++) {
        execve(*candidate, arguments, environment);
        error = errno;
        if (error == ENOEXEC) {
            plan->shell_arguments[1] = *candidate;
            execve("/bin/sh", plan->shell_arguments, environment);
            return ENOEXEC;
        }
        if (error == EACCES) denied = true;
        // It is there: what it needs to run is not.
        if (error == ENOENT && access(*candidate, F_OK) == 0) lacks_interpreter = true;
        bool try_next = error == EACCES || error == ENOENT || error == ENOTDIR || error == ESTALE ||
                        error == ENODEV || error == ETIMEDOUT;
        if (!try_next) return error;
    }
    if (denied) return EACCES;
    return lacks_interpreter ? -ENOENT : error;
}

void csup_command_main(struct csup_plan *plan, pid_t watchdog) {
    setpgid(0, 0);
#ifdef __linux__
    // If the watchdog is killed nobody is left to stop the command in time.
    prctl(PR_SET_PDEATHSIG, SIGKILL);
#endif
    if (getppid() != watchdog) _exit(127);
    // Everything is blocked still, and SIGTTOU with it, which would stop a process that does this from the background.
    if (plan->terminal >= 0) tcsetpgrp(plan->terminal, getpid());
    for (size_t i = 0; i < plan->liveness_count; i++) close(plan->originals[i]);
    csup_hide_own_descriptors();
    csup_restore_descriptor_limit();
    restore_dispositions();
    if (dlock_is_dead(plan->watchdog_socket)) _exit(127);
    sigprocmask(SIG_SETMASK, &csup_inherited()->mask, NULL);
    int error = execute(plan);
    (void)!write(plan->exec_write, &error, sizeof error);
    _exit(127);
}
