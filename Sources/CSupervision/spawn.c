#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "internal.h"

static const char *search_path(const char *const *environment) {
    for (const char *const *entry = environment; *entry; entry++) {
        if (strncmp(*entry, "PATH=", 5) == 0) return *entry + 5;
    }
    return "/bin:/usr/bin";
}

// What execvp would try, in its order, spelled out before the fork because that needs memory.
static char **candidates_for(const char *name, const char *path) {
    bool as_is = strchr(name, '/') != NULL || *name == '\0';
    size_t count = 1;
    for (const char *c = path; *c; c++) count += *c == ':';
    char **candidates = calloc(count + 1, sizeof *candidates);
    if (!candidates) return NULL;
    if (as_is) {
        candidates[0] = strdup(name);
        return candidates;
    }
    for (size_t i = 0; i < count; i++) {
        size_t length = strcspn(path, ":");
        candidates[i] = malloc(length + strlen(name) + 2);
        if (!candidates[i]) break;
        memcpy(candidates[i], path, length);
        // An empty entry is the working directory.
        if (length > 0) candidates[i][length++] = '/';
        strcpy(candidates[i] + length, name);
        path += strcspn(path, ":");
        path += *path == ':';
    }
    return candidates;
}

static int prepare(const struct csup_options *options, struct csup_plan *plan) {
    size_t arguments = 0;
    while (options->arguments[arguments]) arguments++;
    if (arguments == 0) return EINVAL;
    plan->candidates = candidates_for(options->arguments[0], search_path(options->environment));
    // "/bin/sh", the script, its arguments, NULL.
    plan->shell_arguments = calloc(arguments + 2, sizeof *plan->shell_arguments);
    // The liveness descriptors, and the few of the watchdog itself.
    plan->kept = calloc(options->liveness_count + 16, sizeof *plan->kept);
    plan->liveness_descriptors = calloc(options->liveness_count + 1, sizeof *plan->liveness_descriptors);
    if (!plan->candidates || !plan->shell_arguments || !plan->kept || !plan->liveness_descriptors) return ENOMEM;
    plan->shell_arguments[0] = (char *)"/bin/sh";
    for (size_t i = 1; i < arguments; i++) plan->shell_arguments[i + 1] = (char *)options->arguments[i];

    // Duplicates: their numbers are out of the way of 0, 1 and 2, which a caller may have closed and so reused.
    for (; plan->liveness_count < options->liveness_count; plan->liveness_count++) {
        int duplicate = fcntl(options->liveness_descriptors[plan->liveness_count], F_DUPFD_CLOEXEC, 3);
        if (duplicate < 0) return errno;
        plan->liveness_descriptors[plan->liveness_count] = duplicate;
    }
    int sockets[2];
    if (csup_socketpair(sockets) < 0) return errno;
    plan->dlock_socket = sockets[0];
    plan->watchdog_socket = sockets[1];
    int ends[2];
    if (csup_pipe(ends) < 0) return errno;
    plan->exec_read = ends[0];
    plan->exec_write = ends[1];
    plan->null_descriptor = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (plan->null_descriptor < 0) return errno;
    int error = csup_open_senses(plan);
    if (error != 0) return error;
    int *own[] = {&plan->dlock_socket, &plan->watchdog_socket,  &plan->exec_read,   &plan->exec_write,
                  &plan->timer,        &plan->child_descriptor, &plan->child_write, &plan->null_descriptor};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++) {
        if (*own[i] < 0 || *own[i] > 2) continue;
        int moved = fcntl(*own[i], F_DUPFD_CLOEXEC, 3);
        if (moved < 0) return errno;
        close(*own[i]);
        *own[i] = moved;
    }
    return 0;
}

static void release(struct csup_plan *plan, bool keep_socket) {
    if (!keep_socket) csup_close(&plan->dlock_socket);
    csup_close(&plan->watchdog_socket);
    csup_close(&plan->exec_read);
    csup_close(&plan->exec_write);
    csup_close(&plan->null_descriptor);
    csup_close(&plan->child_descriptor);
    csup_close(&plan->child_write);
    csup_close(&plan->timer);
    for (char **candidate = plan->candidates; candidate && *candidate; candidate++) free(*candidate);
    free(plan->candidates);
    free(plan->shell_arguments);
    free(plan->kept);
    for (size_t i = 0; i < plan->liveness_count; i++) close(plan->liveness_descriptors[i]);
    free(plan->liveness_descriptors);
}

int csup_spawn(const struct csup_options *options, struct csup_handle *handle) {
    struct csup_plan plan = {
        .arguments = options->arguments,
        .environment = options->environment,
        .originals = options->liveness_descriptors,
        .deadline_ns = options->deadline_ns,
        .grace_ns = options->grace_ns,
        .terminal = options->terminal_descriptor,
        .dlock_group = getpgrp(),
        .dlock_socket = -1,
        .watchdog_socket = -1,
        .null_descriptor = -1,
        .exec_read = -1,
        .exec_write = -1,
        .child_descriptor = -1,
        .child_write = -1,
        .timer = -1,
    };
    int error = prepare(options, &plan);
    if (error != 0) {
        release(&plan, false);
        return error;
    }
    // If the watchdog is killed, its children are this process's: then nobody else reaps them, and their numbers stay theirs.
    csup_adopt_orphans();
    if (csup_ignored_at_start(SIGCHLD)) signal(SIGCHLD, SIG_DFL);
    // No handler of dlock may run in the child, so nothing is delivered to it until it has set up its own signals.
    sigset_t everything, previous;
    sigfillset(&everything);
    pthread_sigmask(SIG_SETMASK, &everything, &previous);
    pid_t watchdog = csup_fork();
    if (watchdog == 0) csup_watchdog_main(&plan);
    error = watchdog < 0 ? errno : 0;
    pthread_sigmask(SIG_SETMASK, &previous, NULL);
    handle->watchdog = watchdog;
    handle->socket = error == 0 ? plan.dlock_socket : -1;
    release(&plan, error == 0);
    return error;
}
