#ifndef CSUPERVISION_H
#define CSUPERVISION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

// dlock --fork--> watchdog --fork, exec--> command.
//
// The watchdog is the command's parent, so that neither the process id nor the process group id of the command can
// be reused while it still has to be killed. If the watchdog is killed, dlock adopts the command: so that holds for dlock,
// too. It is a fork of a program with threads: after the fork only async-signal-safe functions are called, and everything
// that needs memory is allocated before.

/// CLOCK_BOOTTIME (macOS: CLOCK_MONOTONIC_RAW) in nanoseconds: the clock of `ContinuousClock`. It goes on in suspend.
int64_t csup_now_ns(void);

struct csup_options {
    /// NULL-terminated. The first is looked up in the PATH of `environment`, as `execvp` does.
    const char *const *arguments;
    /// NULL-terminated `NAME=value`.
    const char *const *environment;
    /// Kept open by the watchdog until the last process of the command is gone, never passed to the command.
    const int32_t *liveness_descriptors;
    size_t liveness_count;
    int64_t deadline_ns;
    int64_t grace_ns;
    /// The controlling terminal, which the command's group gets before it starts; -1 to leave the terminal alone.
    int32_t terminal_descriptor;
};

struct csup_handle {
    pid_t watchdog;
    /// Messages both ways. Its end tells the watchdog that dlock is dead, and dlock that the watchdog is.
    int32_t socket;
};

/// Returns 0 or an errno.
int csup_spawn(const struct csup_options *options, struct csup_handle *handle);

// MARK: - Messages

enum csup_kind {
    // dlock to watchdog
    CSUP_EXTEND = 1,
    CSUP_FORWARD = 2,
    CSUP_TERMINATE_COMMAND = 3,
    CSUP_CONTINUE = 4,
    // watchdog to dlock
    CSUP_FORKED = 16,
    CSUP_STARTED = 17,
    CSUP_EXEC_FAILED = 18,
    CSUP_NOT_STARTED = 19,
    CSUP_STOPPED = 20,
    CSUP_CONTINUED = 21,
    CSUP_FINISHED = 22,
};

/// Both ends are the same binary: there is no version and no byte order to settle.
struct csup_message {
    uint32_t kind;
    /// A process id, signal number, errno or exit code. EXEC_FAILED: -ENOENT if the program is there and its interpreter is not.
    int32_t value;
    int64_t deadline_ns;
    /// STOPPED: how many CONTINUE messages the watchdog has obeyed. If more were sent, this stop is over.
    uint32_t continues;
    /// FINISHED: `value` is the signal that killed the command, not its exit code.
    bool by_signal;
    /// FINISHED: the watchdog began to stop the command before it had ended by itself.
    bool stopped_by_watchdog;
};

enum csup_receipt { CSUP_RECEIVED = 0, CSUP_NOTHING_YET = 1, CSUP_CLOSED = 2 };

/// Never blocks; false if it could not be sent.
bool csup_send(int socket, const struct csup_message *message);
/// `descriptor` is set to what came with the message: with FORKED, a pidfd of the command where the system has such a
/// thing. It is the caller's to close; -1 if there is none.
enum csup_receipt csup_receive(int socket, struct csup_message *message, int *descriptor);

// MARK: - Rules

enum csup_action {
    CSUP_DO_WAIT = 0,
    /// SIGTERM to each process that has not had one yet.
    CSUP_DO_TERMINATE = 1,
    CSUP_DO_KILL = 2,
    CSUP_DO_FINISH = 3,
};

struct csup_decision {
    enum csup_action action;
    /// Decide again then, or when something happens.
    int64_t wake_at_ns;
};

/// What the watchdog knows. Pure: time is an argument, and nothing here touches a process.
struct csup_rules {
    int64_t deadline_ns;
    int64_t grace_ns;
    int64_t stopping_since_ns;
    int64_t recheck_ns;
    bool stopping;
    bool dlock_dead;
    bool terminate_asked;
    bool leader_exited;
    bool group_empty;
    bool stopped_by_watchdog;
};

struct csup_rules csup_rules_begin(int64_t deadline_ns, int64_t grace_ns);
void csup_rules_deadline_moved(struct csup_rules *rules, int64_t deadline_ns);
void csup_rules_dlock_died(struct csup_rules *rules);
void csup_rules_terminate_asked(struct csup_rules *rules);
void csup_rules_leader_exited(struct csup_rules *rules);
void csup_rules_group_emptied(struct csup_rules *rules);
struct csup_decision csup_rules_decide(struct csup_rules *rules, int64_t now_ns);
/// The instant of SIGTERM, and the one of SIGKILL, that the deadline alone asks for.
int64_t csup_rules_soft_limit_ns(const struct csup_rules *rules);
int64_t csup_rules_hard_limit_ns(const struct csup_rules *rules);

// MARK: - What the caller has handed over

/// How many arguments this program was given, its name included; -1 where the system does not tell before main.
int csup_argument_count(void);
/// The arguments as they were given. They need not be text.
char *const *csup_arguments(void);
/// Overwrites the passwords of URLs among the arguments, so that a list of processes shows them no more. `csup_arguments` has
/// lost them then, too.
void csup_hide_passwords(void);
/// `NAME=value`, NULL-terminated, with what this program has changed since. They need not be text.
char *const *csup_environment(void);
/// How many open descriptors this program was given.
size_t csup_descriptor_count(void);
/// Raises the limit of open descriptors if it leaves no room for so many besides those; false if it may not be raised that
/// far. The command gets the limit that this program was given.
bool csup_make_room(size_t descriptors);

/// A file in memory, without a name in any folder and closed on exec; -1 with errno where there is no such thing.
int csup_memory_file(const char *name);

// MARK: - Signals and terminal, used by dlock itself

/// Whether the signal was ignored when this program was started (`nohup`).
bool csup_ignored_at_start(int signal);
/// A descriptor that yields one byte, the signal's number, for each captured signal; -1 with errno.
int csup_capture_descriptor(void);
/// Returns 0 or an errno. A signal that was ignored at the start stays ignored.
int csup_capture(int signal);
/// Stops this process's whole group by a stop signal, this process included; returns true when it was continued, or
/// false where the system discards such signals (an orphaned group: nobody could ever continue it). SIGCONT has to be
/// captured.
bool csup_stop_own_group(int signal);
/// Sends a signal to the other processes of this process's group.
void csup_signal_own_group(int signal);
/// Kills this process by a signal that it may have captured, without a core dump. Returns if the signal was ignored when
/// it started.
void csup_die_of(int signal);
/// `tcsetpgrp` from the background too. Returns 0 or an errno.
int csup_set_foreground(int terminal, pid_t group);

// MARK: - The command's group, used by dlock when the watchdog died

/// Whether a process of the group is alive; zombies do not count where the system can tell.
bool csup_group_is_alive(pid_t group);
/// A descriptor that stands for a process, and not for its number; -1 where the system has no such thing.
int csup_pidfd(pid_t process);
/// From now on whoever descends from this process and loses its parent becomes its child. `csup_spawn` calls it.
void csup_adopt_orphans(void);
/// Sends SIGKILL to the group of a command, and to no other that got its number meanwhile.
///
/// `leader` is a pidfd of the command, -1 where there is none. Then the number has to be the group's still: its leader not
/// reaped.
void csup_kill_group(pid_t group, int leader);
/// Reaps a command whose watchdog was killed, so that its number is free. Does nothing if it is nobody's child here.
void csup_reap(pid_t leader);

#endif
