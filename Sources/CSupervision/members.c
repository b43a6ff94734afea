#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "internal.h"

#ifdef __linux__
#include <sys/syscall.h>
#endif

// The watchdog adopts the orphans among the command's descendants, so its own children are all there is to know: as
// long as a descendant lives, either it or an ancestor of it is one of them. Nobody else reaps them, so their numbers
// stay theirs.
struct visitor {
    struct csup_members *members;
    int signal;
    bool others_in_session;
    bool daemons;
};

static bool reap(pid_t child) {
    siginfo_t info;
    memset(&info, 0, sizeof info);
    return waitid(P_PID, (id_t)child, &info, WEXITED | WNOHANG) == 0 && info.si_pid == child;
}

static void signal_outside_group(struct csup_members *members, pid_t child, int signal) {
    if (getpgid(child) == members->leader) return;
    if (signal == SIGTERM) {
        for (size_t i = 0; i < members->told_count; i++) {
            if (members->told[i] == child) return;
        }
        if (members->told_count == sizeof members->told / sizeof *members->told) return;
        members->told[members->told_count++] = child;
    }
    kill(child, signal);
    if (signal == SIGTERM) kill(child, SIGCONT);
}

static void visit(struct visitor *visitor, pid_t child) {
    if (child == visitor->members->leader || reap(child)) return;
    if (getsid(child) != visitor->members->session) {
        visitor->daemons = true;
        return;
    }
    visitor->others_in_session = true;
    if (visitor->signal != 0) signal_outside_group(visitor->members, child, visitor->signal);
}

#ifdef __linux__

static int64_t parse_number(const char **text) {
    int64_t number = 0;
    while (**text >= '0' && **text <= '9') number = number * 10 + (*(*text)++ - '0');
    return number;
}

// False if the kernel does not list children. The list is said to be unreliable because children come and go while it
// is read; here they come at its end, and go only when this process, which is reading, reaps them.
static bool visit_children(struct visitor *visitor) {
    int file = open("/proc/thread-self/children", O_RDONLY | O_CLOEXEC);
    if (file < 0) return false;
    // Reaping while reading would shift the list, so it is read as a whole; what does not fit is seen next time, and
    // until then there are others.
    static char text[64 * 1024];
    size_t length = 0;
    ssize_t count;
    while (length < sizeof text - 1 && (count = read(file, text + length, sizeof text - 1 - length)) != 0) {
        if (count > 0) {
            length += (size_t)count;
        } else if (errno != EINTR) {
            visitor->others_in_session = true;
            break;
        }
    }
    close(file);
    if (length == sizeof text - 1) {
        visitor->others_in_session = true;
        while (length > 0 && text[length - 1] != ' ') length--;
    }
    text[length] = '\0';
    const char *next = text;
    while (*next >= '0' && *next <= '9') {
        visit(visitor, (pid_t)parse_number(&next));
        while (*next == ' ') next++;
    }
    return true;
}

// A zombie of several threads may have some that run.
static bool stat_shows_live_member(const char *text, pid_t group) {
    const char *next = strrchr(text, ')');
    if (!next || next[1] != ' ') return false;
    next += 2;
    char state = *next;
    int64_t in_group = 0, threads = 0;
    for (int field = 3; field <= 20; field++) {
        if (*next == '-') next++;
        const char *start = next;
        int64_t number = parse_number(&next);
        if (next == start && *next != '\0') next++;
        if (field == 5) in_group = number;
        if (field == 20) threads = number;
        while (*next == ' ') next++;
    }
    return in_group == group && ((state != 'Z' && state != 'X') || threads > 1);
}

static bool is_live_member(const char *digits, pid_t group) {
    char path[32] = "/proc/";
    size_t length = strlen(path);
    for (; *digits && length < sizeof path - 6; digits++) path[length++] = *digits;
    memcpy(path + length, "/stat", 6);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return false;
    char text[1024];
    ssize_t count = read(file, text, sizeof text - 1);
    close(file);
    if (count <= 0) return false;
    text[count] = '\0';
    return stat_shows_live_member(text, group);
}

struct directory_entry {
    uint64_t inode;
    int64_t offset;
    uint16_t size;
    uint8_t type;
    char name[];
};

bool csup_group_is_alive(pid_t group) {
    if (kill(-group, 0) < 0 && errno == ESRCH) return false;
    int directory = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0) return true;
    bool alive = false;
    // opendir would allocate.
    _Alignas(struct directory_entry) char buffer[8192];
    long count;
    while (!alive && (count = syscall(SYS_getdents64, directory, buffer, sizeof buffer)) > 0) {
        for (long at = 0; at < count && !alive;) {
            struct directory_entry *entry = (struct directory_entry *)(buffer + at);
            at += entry->size;
            if (entry->name[0] >= '1' && entry->name[0] <= '9') alive = is_live_member(entry->name, group);
        }
    }
    close(directory);
    return alive;
}

#else

static bool visit_children(struct visitor *visitor) {
    (void)visitor;
    return false;
}

bool csup_group_is_alive(pid_t group) {
    return kill(-group, 0) == 0 || errno != ESRCH;
}

#endif

#ifdef SYS_pidfd_send_signal

// From Linux 6.9 on: the group that the process leads or led, which no other ever is.
static const unsigned signal_process_group = 1u << 2;

void csup_kill_group(pid_t group, int leader) {
    if (leader >= 0) {
        if (syscall(SYS_pidfd_send_signal, leader, SIGKILL, NULL, signal_process_group) == 0) return;
        // Gone, and its group with it; or reaped, which only a watchdog does that has seen the end of the group.
        if (errno == ESRCH) return;
        if (syscall(SYS_pidfd_send_signal, leader, 0, NULL, 0) < 0 && errno == ESRCH) return;
    }
    kill(-group, SIGKILL);
}

#else

void csup_kill_group(pid_t group, int leader) {
    (void)leader;
    kill(-group, SIGKILL);
}

#endif

void csup_reap(pid_t leader) {
    while (waitpid(leader, NULL, WNOHANG) < 0 && errno == EINTR) continue;
}

void csup_members_signal(struct csup_members *members, int signal) {
    if (signal == SIGKILL || !members->group_told) {
        kill(-members->leader, signal);
        kill(-members->leader, SIGCONT);
        members->group_told = true;
    }
    struct visitor visitor = {.members = members, .signal = signal};
    visit_children(&visitor);
}

bool csup_members_gone(struct csup_members *members, bool leader_exited) {
    struct visitor visitor = {.members = members};
    if (visit_children(&visitor)) {
        if (!leader_exited || visitor.others_in_session) return false;
        // A daemon may be the parent of a process that is still in the group.
        return !visitor.daemons || !csup_group_is_alive(members->leader);
    }
    if (!leader_exited) return false;
    // Without a list of children only the group counts, and its leader's zombie would hide whether others are left.
    if (!members->leader_reaped) {
        waitpid(members->leader, NULL, 0);
        members->leader_reaped = true;
    }
    while (waitpid(-1, NULL, WNOHANG) > 0) continue;
    return !csup_group_is_alive(members->leader);
}
