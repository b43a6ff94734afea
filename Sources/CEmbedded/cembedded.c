#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "CEmbedded.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

// Weak, because a package without the trait Embedded has no SQLite to link with.
extern int sqlite3_db_config(void *connection, int option, ...) __attribute__((weak));

bool cemb_keep_log_on_close(void *connection) {
    const int no_checkpoint_on_close = 1006;  // SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE
    return sqlite3_db_config && sqlite3_db_config(connection, no_checkpoint_on_close, 1, (int *)0) == 0;
}

#ifndef __linux__
static void set_flags(int descriptor) {
    fcntl(descriptor, F_SETFD, FD_CLOEXEC);
    fcntl(descriptor, F_SETFL, O_NONBLOCK);
}
#endif

int cemb_pipe(int ends[2]) {
#ifdef __linux__
    return pipe2(ends, O_CLOEXEC | O_NONBLOCK);
#else
    if (pipe(ends) < 0) return -1;
    set_flags(ends[0]);
    set_flags(ends[1]);
    return 0;
#endif
}

int cemb_accept(int listener) {
#ifdef __linux__
    return accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
#else
    int descriptor = accept(listener, NULL, NULL);
    if (descriptor >= 0) set_flags(descriptor);
    return descriptor;
#endif
}

int64_t cemb_mount_id(const char *path) {
#ifdef __linux__
    // To close a descriptor of an open file would drop all record locks of this process on it, SQLite's among them. One of
    // O_PATH is none of an open file.
    int descriptor = open(path, O_PATH | O_CLOEXEC);
    if (descriptor < 0) return -1;
    char name[64];
    snprintf(name, sizeof name, "/proc/self/fdinfo/%d", descriptor);
    long long found = -1;
    FILE *info = fopen(name, "re");
    if (info) {
        char line[256];
        while (fgets(line, sizeof line, info)) {
            if (sscanf(line, "mnt_id: %lld", &found) == 1) break;
        }
        fclose(info);
    }
    close(descriptor);
    return found;
#else
    (void)path;
    return -1;
#endif
}
