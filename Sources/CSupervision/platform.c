#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "internal.h"

#ifdef __linux__
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#endif

int64_t csup_now_ns(void) {
    struct timespec now;
#ifdef __linux__
    clock_gettime(CLOCK_BOOTTIME, &now);
#else
    clock_gettime(CLOCK_MONOTONIC_RAW, &now);
#endif
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

// Where there is `_Fork`, it runs nobody's fork handlers, which are not made for a child that keeps on running, and it
// may be called again in that child.
pid_t csup_fork(void) {
#if defined(__GLIBC__) && defined(__GLIBC_PREREQ)
#if __GLIBC_PREREQ(2, 34)
    return _Fork();
#else
    return fork();
#endif
#else
    return fork();
#endif
}

#ifndef __linux__
static int close_on_exec(int descriptors[2]) {
    for (int i = 0; i < 2; i++) {
        if (fcntl(descriptors[i], F_SETFD, FD_CLOEXEC) < 0) return -1;
    }
    return 0;
}
#endif

int csup_pipe(int descriptors[2]) {
#ifdef __linux__
    return pipe2(descriptors, O_CLOEXEC);
#else
    return pipe(descriptors) < 0 ? -1 : close_on_exec(descriptors);
#endif
}

int csup_socketpair(int descriptors[2]) {
#ifdef __linux__
    return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, descriptors);
#else
    // No SOCK_SEQPACKET there; messages this small are never split by a local stream.
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, descriptors) < 0) return -1;
    int on = 1;
    for (int i = 0; i < 2; i++) setsockopt(descriptors[i], SOL_SOCKET, SO_NOSIGPIPE, &on, sizeof on);
    return close_on_exec(descriptors);
#endif
}

#ifdef __linux__
static const int send_flags = MSG_DONTWAIT | MSG_NOSIGNAL;
#else
static const int send_flags = MSG_DONTWAIT;
#endif

#ifdef MSG_CMSG_CLOEXEC
static const int receive_flags = MSG_DONTWAIT | MSG_CMSG_CLOEXEC;
#else
static const int receive_flags = MSG_DONTWAIT;
#endif

union control {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof(int))];
};

bool csup_send_with(int socket, const struct csup_message *message, int descriptor) {
    struct iovec bytes = {.iov_base = (void *)message, .iov_len = sizeof *message};
    struct msghdr header = {.msg_iov = &bytes, .msg_iovlen = 1};
    union control control;
    if (descriptor >= 0) {
        memset(&control, 0, sizeof control);
        header.msg_control = control.bytes;
        header.msg_controllen = sizeof control.bytes;
        struct cmsghdr *rights = CMSG_FIRSTHDR(&header);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(sizeof descriptor);
        memcpy(CMSG_DATA(rights), &descriptor, sizeof descriptor);
    }
    ssize_t count;
    do count = sendmsg(socket, &header, send_flags);
    while (count < 0 && errno == EINTR);
    return count == (ssize_t)sizeof *message;
}

bool csup_send(int socket, const struct csup_message *message) {
    return csup_send_with(socket, message, -1);
}

enum csup_receipt csup_receive(int socket, struct csup_message *message, int *descriptor) {
    struct iovec bytes = {.iov_base = message, .iov_len = sizeof *message};
    union control control;
    struct msghdr header = {.msg_iov = &bytes, .msg_iovlen = 1};
    *descriptor = -1;
    ssize_t count;
    // ECONNRESET is told once, before what is still queued: the other end was closed with messages unread.
    do {
        header.msg_control = control.bytes;
        header.msg_controllen = sizeof control.bytes;
        count = recvmsg(socket, &header, receive_flags);
    } while (count < 0 && (errno == EINTR || errno == ECONNRESET));
    struct cmsghdr *rights = count > 0 ? CMSG_FIRSTHDR(&header) : NULL;
    if (rights && rights->cmsg_level == SOL_SOCKET && rights->cmsg_type == SCM_RIGHTS) {
        memcpy(descriptor, CMSG_DATA(rights), sizeof *descriptor);
    }
    if (count == (ssize_t)sizeof *message) return CSUP_RECEIVED;
    if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return CSUP_NOTHING_YET;
    return CSUP_CLOSED;
}

int csup_pidfd(pid_t process) {
#ifdef SYS_pidfd_open
    return (int)syscall(SYS_pidfd_open, process, 0);
#else
    (void)process;
    return -1;
#endif
}

int csup_memory_file(const char *name) {
#ifdef SYS_memfd_create
    const unsigned close_on_exec = 1u;
    return (int)syscall(SYS_memfd_create, name, close_on_exec);
#else
    (void)name;
    errno = ENOSYS;
    return -1;
#endif
}

void csup_adopt_orphans(void) {
#ifdef __linux__
    prctl(PR_SET_CHILD_SUBREAPER, 1);
#endif
}

void csup_close(int *descriptor) {
    if (*descriptor >= 0) close(*descriptor);
    *descriptor = -1;
}

static void close_between(int first, int last) {
    if (first > last) return;
#ifdef SYS_close_range
    if (syscall(SYS_close_range, (unsigned)first, (unsigned)last, 0) == 0) return;
#endif
    struct rlimit limit;
    int end = 65536;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < (rlim_t)end) end = (int)limit.rlim_cur;
    for (int descriptor = first; descriptor <= last && descriptor < end; descriptor++) close(descriptor);
}

void csup_close_all_but(int *kept, size_t count) {
    for (size_t i = 1; i < count; i++) {
        for (size_t j = i; j > 0 && kept[j - 1] > kept[j]; j--) {
            int lower = kept[j];
            kept[j] = kept[j - 1];
            kept[j - 1] = lower;
        }
    }
    int first = 0;
    for (size_t i = 0; i < count; i++) {
        close_between(first, kept[i] - 1);
        first = kept[i] + 1;
    }
    close_between(first, INT32_MAX);
}

#ifdef __linux__

int csup_open_senses(struct csup_plan *plan) {
    sigset_t child;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    plan->child_descriptor = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
    plan->timer = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
    return plan->child_descriptor < 0 || plan->timer < 0 ? errno : 0;
}

void csup_prepare_senses(struct csup_plan *plan) {
    (void)plan;
}

void csup_arm(const struct csup_plan *plan, int64_t wake_at_ns) {
    // A zero would disarm it.
    if (wake_at_ns < 1) wake_at_ns = 1;
    struct itimerspec at = {
        .it_value = {.tv_sec = (time_t)(wake_at_ns / 1000000000), .tv_nsec = (long)(wake_at_ns % 1000000000)},
    };
    timerfd_settime(plan->timer, TFD_TIMER_ABSTIME, &at, NULL);
}

int csup_poll_timeout_ms(int64_t wake_at_ns) {
    (void)wake_at_ns;
    return -1;
}

#else

static int child_pipe = -1;

static void child_changed(int signal) {
    (void)signal;
    int saved = errno;
    (void)!write(child_pipe, "", 1);
    errno = saved;
}

int csup_open_senses(struct csup_plan *plan) {
    int ends[2];
    if (csup_pipe(ends) < 0) return errno;
    for (int i = 0; i < 2; i++) fcntl(ends[i], F_SETFL, O_NONBLOCK);
    plan->child_descriptor = ends[0];
    plan->child_write = ends[1];
    plan->timer = -1;
    return 0;
}

void csup_prepare_senses(struct csup_plan *plan) {
    child_pipe = plan->child_write;
    struct sigaction action = {.sa_handler = child_changed, .sa_flags = SA_RESTART};
    sigaction(SIGCHLD, &action, NULL);
    sigset_t child;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    sigprocmask(SIG_UNBLOCK, &child, NULL);
}

void csup_arm(const struct csup_plan *plan, int64_t wake_at_ns) {
    (void)plan;
    (void)wake_at_ns;
}

// A second at most: the timeout of poll does not count the time a machine was asleep.
int csup_poll_timeout_ms(int64_t wake_at_ns) {
    int64_t left_ms = (wake_at_ns - csup_now_ns()) / 1000000 + 1;
    return left_ms < 0 ? 0 : left_ms > 1000 ? 1000 : (int)left_ms;
}

#endif

void csup_drain(int descriptor) {
    char buffer[1024];
    while (read(descriptor, buffer, sizeof buffer) > 0) continue;
}
