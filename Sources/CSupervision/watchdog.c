#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "internal.h"

#ifdef __linux__
#include <sys/prctl.h>
#endif

struct watchdog {
    struct csup_plan *plan;
    struct csup_rules rules;
    struct csup_members members;
    uint32_t continues;
    bool executing;
    bool exited_by_signal;
    int exit_value;
};

static void report_with(struct watchdog *dog, enum csup_kind kind, int value, int descriptor) {
    struct csup_message message;
    memset(&message, 0, sizeof message);
    message.kind = kind;
    message.value = value;
    message.continues = dog->continues;
    csup_send_with(dog->plan->watchdog_socket, &message, descriptor);
}

static void report(struct watchdog *dog, enum csup_kind kind, int value) {
    report_with(dog, kind, value, -1);
}

// Only here is it certain that the number is still the command's: dlock may read this much later.
static void report_fork(struct watchdog *dog) {
    int descriptor = csup_pidfd(dog->members.leader);
    report_with(dog, CSUP_FORKED, dog->members.leader, descriptor);
    csup_close(&descriptor);
}

// Nothing is left to guard here, so it may wait for a stopped dlock to read what came before. The leader is reaped after
// the last word: a dlock that has not read it may still signal that number.
_Noreturn static void report_and_exit(struct watchdog *dog, enum csup_kind kind, int value) {
    for (size_t i = 0; i < dog->plan->liveness_count; i++) close(dog->plan->liveness_descriptors[i]);
    struct csup_message message;
    memset(&message, 0, sizeof message);
    message.kind = kind;
    message.value = value;
    message.by_signal = dog->exited_by_signal;
    message.stopped_by_watchdog = dog->rules.stopped_by_watchdog;
    int socket = dog->plan->watchdog_socket;
    while (!csup_send(socket, &message) && (errno == EAGAIN || errno == ENOBUFS)) {
        struct pollfd writable = {.fd = socket, .events = POLLOUT};
        poll(&writable, 1, 100);
    }
    if (dog->members.leader > 0 && !dog->members.leader_reaped) waitpid(dog->members.leader, NULL, 0);
    _exit(0);
}

static void take_own_place(void) {
    // Out of reach of what is sent to dlock's group, but in its session, so that the command's group is no orphan and
    // Ctrl-Z works in it.
    setpgid(0, 0);
    csup_adopt_orphans();
    // Neither name contains "dlock": whoever kills dlock by name must not kill the watchdog with it.
    csup_rename_process("lock-watchdog");
#ifdef __linux__
    prctl(PR_SET_NAME, "lock-watchdog");
#endif
    // With SIGCHLD ignored, children would vanish without leaving a status.
    struct sigaction standard = {.sa_handler = SIG_DFL};
    sigaction(SIGCHLD, &standard, NULL);
}

static void let_go_of_dlock(struct csup_plan *plan) {
    // A reader of the command's output waits for the end of it, which must not depend on the watchdog; nor must the
    // user's directory and files.
    for (int descriptor = 0; descriptor <= 2; descriptor++) dup2(plan->null_descriptor, descriptor);
    size_t count = 0;
    int *kept = plan->kept;
    for (int descriptor = 0; descriptor <= 2; descriptor++) kept[count++] = descriptor;
    kept[count++] = plan->watchdog_socket;
    kept[count++] = plan->exec_read;
    kept[count++] = plan->child_descriptor;
    if (plan->child_write >= 0) kept[count++] = plan->child_write;
    if (plan->timer >= 0) kept[count++] = plan->timer;
    for (size_t i = 0; i < plan->liveness_count; i++) kept[count++] = plan->liveness_descriptors[i];
    csup_close_all_but(kept, count);
    (void)!chdir("/");
}

static void read_socket(struct watchdog *dog) {
    struct csup_message message;
    pid_t group = dog->members.leader;
    enum csup_receipt receipt;
    int descriptor;
    while ((receipt = csup_receive(dog->plan->watchdog_socket, &message, &descriptor)) == CSUP_RECEIVED) {
        switch (message.kind) {
        case CSUP_EXTEND:
            csup_rules_deadline_moved(&dog->rules, message.deadline_ns);
            break;
        case CSUP_FORWARD:
            if (message.value <= 0 || message.value >= NSIG || dog->members.leader_reaped) break;
            kill(-group, message.value);
            // A stopped command would see them only once somebody continues it.
            if (message.value == SIGTERM || message.value == SIGHUP) kill(-group, SIGCONT);
            break;
        case CSUP_TERMINATE_COMMAND:
            csup_rules_terminate_asked(&dog->rules);
            break;
        case CSUP_CONTINUE:
            dog->continues++;
            if (!dog->members.leader_reaped) kill(-group, SIGCONT);
            break;
        default:
            break;
        }
    }
    if (receipt == CSUP_CLOSED) csup_rules_dlock_died(&dog->rules);
}

static void give_terminal_back(struct watchdog *dog) {
    int terminal = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (terminal < 0) return;
    pid_t foreground = tcgetpgrp(terminal);
    // A job of a shell that was the command leaves the number of a group that is no more.
    bool left_behind = foreground == dog->members.leader || (foreground > 1 && kill(-foreground, 0) < 0 && errno == ESRCH);
    if (left_behind) tcsetpgrp(terminal, dog->plan->dlock_group);
    close(terminal);
}

static void read_exec_result(struct watchdog *dog) {
    int error = 0;
    ssize_t count;
    do count = read(dog->plan->exec_read, &error, sizeof error);
    while (count < 0 && errno == EINTR);
    csup_close(&dog->plan->exec_read);
    dog->executing = false;
    if (count != (ssize_t)sizeof error) {
        report(dog, CSUP_STARTED, dog->members.leader);
        return;
    }
    kill(dog->members.leader, SIGKILL);
    if (dog->rules.dlock_dead) give_terminal_back(dog);
    report_and_exit(dog, CSUP_EXEC_FAILED, error);
}

static void watch_leader(struct watchdog *dog) {
    pid_t leader = dog->members.leader;
    // dlock is told of the start first; until then a stop is left to be reported later.
    while (!dog->executing) {
        siginfo_t info;
        memset(&info, 0, sizeof info);
        if (waitid(P_PID, (id_t)leader, &info, WSTOPPED | WCONTINUED | WNOHANG) < 0 || info.si_pid == 0) break;
        if (info.si_code == CLD_STOPPED) report(dog, CSUP_STOPPED, info.si_status);
        if (info.si_code == CLD_CONTINUED) report(dog, CSUP_CONTINUED, 0);
    }
    // It is left unreaped until the end: while it is there, its number stands for this group and no other.
    siginfo_t info;
    memset(&info, 0, sizeof info);
    if (waitid(P_PID, (id_t)leader, &info, WEXITED | WNOHANG | WNOWAIT) < 0 || info.si_pid == 0) return;
    dog->exited_by_signal = info.si_code != CLD_EXITED;
    dog->exit_value = info.si_status;
    csup_rules_leader_exited(&dog->rules);
}

_Noreturn static void finish(struct watchdog *dog) {
    // A dlock that is alive does it itself, and knows better whether it should.
    if (dog->rules.dlock_dead) give_terminal_back(dog);
    report_and_exit(dog, CSUP_FINISHED, dog->exit_value);
}

static void wait_for_news(struct watchdog *dog, int64_t wake_at_ns) {
    struct csup_plan *plan = dog->plan;
    csup_arm(plan, wake_at_ns);
    struct pollfd entries[4] = {
        {.fd = plan->child_descriptor, .events = POLLIN},
        // After its end it would be readable for ever.
        {.fd = dog->rules.dlock_dead ? -1 : plan->watchdog_socket, .events = POLLIN},
        {.fd = plan->timer, .events = POLLIN},
        {.fd = dog->executing ? plan->exec_read : -1, .events = POLLIN},
    };
    if (poll(entries, 4, csup_poll_timeout_ms(wake_at_ns)) <= 0) return;
    if (entries[0].revents) csup_drain(plan->child_descriptor);
    if (entries[2].revents) csup_drain(plan->timer);
    if (entries[3].revents) read_exec_result(dog);
}

void csup_watchdog_main(struct csup_plan *plan) {
    struct watchdog dog;
    memset(&dog, 0, sizeof dog);
    dog.plan = plan;
    dog.rules = csup_rules_begin(plan->deadline_ns, plan->grace_ns);
    csup_close(&plan->dlock_socket);
    take_own_place();

    read_socket(&dog);
    if (csup_rules_decide(&dog.rules, csup_now_ns()).action != CSUP_DO_WAIT) {
        report_and_exit(&dog, CSUP_NOT_STARTED, 0);
    }
    pid_t self = getpid();
    pid_t leader = csup_fork();
    if (leader == 0) csup_command_main(plan, self);
    if (leader < 0) report_and_exit(&dog, CSUP_EXEC_FAILED, errno);
    setpgid(leader, leader);
    dog.members.leader = leader;
    dog.members.session = getsid(0);
    dog.executing = true;
    csup_prepare_senses(plan);
    report_fork(&dog);
    let_go_of_dlock(plan);

    for (;;) {
        // In this order: a command that dies because dlock killed it, the watchdog being stopped, was not asked in vain.
        if (!dog.rules.dlock_dead) read_socket(&dog);
        if (!dog.rules.leader_exited) watch_leader(&dog);
        if (!dog.executing && csup_members_gone(&dog.members, dog.rules.leader_exited)) {
            csup_rules_group_emptied(&dog.rules);
        }
        struct csup_decision decision = csup_rules_decide(&dog.rules, csup_now_ns());
        switch (decision.action) {
        case CSUP_DO_WAIT:
            break;
        case CSUP_DO_TERMINATE:
            csup_members_signal(&dog.members, SIGTERM);
            break;
        case CSUP_DO_KILL:
            csup_members_signal(&dog.members, SIGKILL);
            break;
        case CSUP_DO_FINISH:
            finish(&dog);
        }
        wait_for_news(&dog, decision.wake_at_ns);
    }
}
