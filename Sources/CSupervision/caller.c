#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "internal.h"

#ifdef __linux__
#include <sys/syscall.h>
#endif

// What the caller of this program has handed over, as it was before main.

extern char **environ;

static char *const *arguments;
static int argument_count = -1;
static char *command_line;
static size_t command_line_size;
// In ascending order.
static int *descriptors;
static size_t descriptor_count;

int csup_argument_count(void) {
    return argument_count;
}

char *const *csup_arguments(void) {
    return arguments;
}

char *const *csup_environment(void) {
    return environ;
}

size_t csup_descriptor_count(void) {
    return descriptor_count;
}

// scheme://user:password@host. The last @ before the path, as the reader of such URLs has it.
static void hide_password(char *argument) {
    char *authority = strstr(argument, "://");
    if (!authority) return;
    authority += 3;
    char *end = authority + strcspn(authority, "/?#");
    // A password that was not encoded may hold what ends an authority.
    char *at = strrchr(authority, '@');
    if (!at) return;
    char *last = NULL;
    for (char *next = authority; next < end; next++) {
        if (*next == '@') last = next;
    }
    char *colon = strchr(authority, ':');
    if (!last) last = at;
    if (colon && colon < last) memset(colon + 1, 'x', (size_t)(last - colon - 1));
}

void csup_hide_passwords(void) {
    for (int i = 1; i < argument_count; i++) hide_password(arguments[i]);
}

void csup_rename_process(const char *name) {
    if (command_line_size == 0) return;
    memset(command_line, 0, command_line_size);
    for (size_t i = 0; i + 1 < command_line_size && name[i]; i++) command_line[i] = name[i];
}

// MARK: - Descriptors

static bool is_known(int descriptor) {
    for (size_t i = 0; i < descriptor_count; i++) {
        if (descriptors[i] == descriptor) return true;
    }
    return false;
}

static void remember_descriptor(int descriptor) {
    if ((descriptor_count & (descriptor_count - 1)) == 0) {
        size_t room = descriptor_count == 0 ? 1 : 2 * descriptor_count;
        int *larger = realloc(descriptors, room * sizeof *descriptors);
        if (!larger) return;
        descriptors = larger;
    }
    size_t place = descriptor_count++;
    for (; place > 0 && descriptors[place - 1] > descriptor; place--) descriptors[place] = descriptors[place - 1];
    descriptors[place] = descriptor;
}

static bool remember_listed_descriptors(void) {
    DIR *directory = opendir("/proc/self/fd");
    if (!directory) return false;
    struct dirent *entry;
    while ((entry = readdir(directory))) {
        if (entry->d_name[0] < '0' || entry->d_name[0] > '9') continue;
        int descriptor = atoi(entry->d_name);
        if (descriptor != dirfd(directory)) remember_descriptor(descriptor);
    }
    closedir(directory);
    return true;
}

// `poll` says of many numbers at once which are none.
static void remember_found_descriptors(void) {
    struct rlimit limit;
    int end = 65536;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < (rlim_t)end) end = (int)limit.rlim_cur;
    struct pollfd entries[256];
    for (int first = 0; first < end; first += 256) {
        nfds_t count = 0;
        for (; count < 256 && first + (int)count < end; count++) {
            entries[count] = (struct pollfd){.fd = first + (int)count};
        }
        if (poll(entries, count, 0) < 0) continue;
        for (nfds_t i = 0; i < count; i++) {
            if ((entries[i].revents & POLLNVAL) == 0 && !is_known(entries[i].fd)) remember_descriptor(entries[i].fd);
        }
    }
}

// A standard stream that the caller has closed must not become a file or a connection of this program's, which would then be
// read as input or written as output. What stands in its place can be neither read nor written, as if it were closed.
static void fill_closed_streams(void) {
    for (int descriptor = 0; descriptor <= 2; descriptor++) {
        if (is_known(descriptor) || fcntl(descriptor, F_GETFD) >= 0) continue;
#ifdef O_PATH
        int placeholder = open("/", O_PATH | O_CLOEXEC);
#else
        int placeholder = open("/dev/null", (descriptor == 0 ? O_WRONLY : O_RDONLY) | O_CLOEXEC);
#endif
        // The lowest free number is taken, which is this one.
        if (placeholder > descriptor) close(placeholder);
    }
}

static void close_on_exec_between(int first, int last) {
    if (first > last) return;
#if defined(SYS_close_range)
    const unsigned only_on_exec = 1u << 2;
    if (syscall(SYS_close_range, (unsigned)first, (unsigned)last, only_on_exec) == 0) return;
#endif
    struct rlimit limit;
    int end = 65536;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < (rlim_t)end) end = (int)limit.rlim_cur;
    for (int descriptor = first; descriptor <= last && descriptor < end; descriptor++) {
        int flags = fcntl(descriptor, F_GETFD);
        if (flags >= 0) fcntl(descriptor, F_SETFD, flags | FD_CLOEXEC);
    }
}

void csup_hide_own_descriptors(void) {
    int first = 0;
    for (size_t i = 0; i < descriptor_count; i++) {
        close_on_exec_between(first, descriptors[i] - 1);
        first = descriptors[i] + 1;
    }
    close_on_exec_between(first, INT32_MAX);
}

static struct rlimit descriptor_limit;
static bool limit_is_raised;

bool csup_make_room(size_t count) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) return true;
    rlim_t needed = (rlim_t)(descriptor_count + count);
    if (limit.rlim_cur >= needed) return true;
    if (limit.rlim_max < needed) return false;
    struct rlimit raised = {.rlim_cur = needed, .rlim_max = limit.rlim_max};
    if (setrlimit(RLIMIT_NOFILE, &raised) < 0) return false;
    if (!limit_is_raised) descriptor_limit = limit;
    limit_is_raised = true;
    return true;
}

void csup_restore_descriptor_limit(void) {
    if (limit_is_raised) setrlimit(RLIMIT_NOFILE, &descriptor_limit);
}

// MARK: - Before main

// And so before anything else can have changed it.
static void remember_descriptors(void) {
    if (!remember_listed_descriptors()) remember_found_descriptors();
    fill_closed_streams();
}

#ifdef __GLIBC__
__attribute__((constructor)) static void remember(int argc, char **argv) {
    remember_descriptors();
    if (argc < 1 || !argv || !argv[0]) return;
    arguments = argv;
    argument_count = argc;
    command_line = argv[0];
    char *end = command_line;
    // They lie one behind the other unless somebody replaced them.
    for (int i = 0; i < argc && argv[i] == end; i++) end += strlen(end) + 1;
    command_line_size = (size_t)(end - command_line);
}
#else
__attribute__((constructor)) static void remember(void) {
    remember_descriptors();
}
#endif
