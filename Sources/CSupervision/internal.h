#ifndef CSUPERVISION_INTERNAL_H
#define CSUPERVISION_INTERNAL_H

#include <signal.h>

#include "CSupervision.h"

/// Everything the watchdog and the command need, made ready before the fork.
struct csup_plan {
    char **candidates;
    char **shell_arguments;
    const char *const *arguments;
    const char *const *environment;
    /// Duplicates of the originals, which are the caller's.
    int *liveness_descriptors;
    const int32_t *originals;
    size_t liveness_count;
    int64_t deadline_ns;
    int64_t grace_ns;
    int terminal;
    pid_t dlock_group;
    int dlock_socket;
    int watchdog_socket;
    int null_descriptor;
    /// Closed by a successful exec, else it carries the errno, or -ENOENT if the program is there and its interpreter is not.
    int exec_read;
    int exec_write;
    /// Readable when a child changed state.
    int child_descriptor;
    int child_write;
    /// Readable when the armed instant has come; -1 where there is no timer that counts suspend.
    int timer;
    /// Room for every descriptor that the watchdog keeps.
    int *kept;
};

struct csup_inherited {
    sigset_t mask;
    bool ignored[NSIG];
};

const struct csup_inherited *csup_inherited(void);
/// Shows another command line than dlock's for this process.
void csup_rename_process(const char *name);
/// A program that this process becomes gets the descriptors that this program got, and no other.
void csup_hide_own_descriptors(void);
void csup_restore_descriptor_limit(void);

pid_t csup_fork(void);
int csup_pipe(int descriptors[2]);
int csup_socketpair(int descriptors[2]);
void csup_close(int *descriptor);
/// `csup_send` with a descriptor, which stays open here; -1 for none.
bool csup_send_with(int socket, const struct csup_message *message, int descriptor);
/// `kept` is sorted in place.
void csup_close_all_but(int *kept, size_t count);

/// Readiness of a watchdog's two senses besides its socket.
int csup_open_senses(struct csup_plan *plan);
void csup_prepare_senses(struct csup_plan *plan);
void csup_arm(const struct csup_plan *plan, int64_t wake_at_ns);
int csup_poll_timeout_ms(int64_t wake_at_ns);
void csup_drain(int descriptor);

_Noreturn void csup_watchdog_main(struct csup_plan *plan);
_Noreturn void csup_command_main(struct csup_plan *plan, pid_t watchdog);

/// The processes that belong to the command: its group, and whatever else descends from it within the session
/// (`timeout`, the jobs of an interactive shell), but no process that left the session: that one is a daemon.
struct csup_members {
    pid_t leader;
    pid_t session;
    bool leader_reaped;
    bool group_told;
    /// Processes outside the group that had their SIGTERM. When it is full, further ones only get SIGKILL.
    pid_t told[256];
    size_t told_count;
};

/// Sends SIGTERM to each process that had none yet, or SIGKILL to all.
void csup_members_signal(struct csup_members *members, int signal);
/// Reaps what has died, except the leader. True when the leader is dead and no other member is left.
bool csup_members_gone(struct csup_members *members, bool leader_exited);

#endif
