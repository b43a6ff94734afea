#include "CSupervision.h"

static const int64_t first_recheck_ns = 10 * 1000 * 1000;
static const int64_t longest_recheck_ns = 100 * 1000 * 1000;
// Killing takes time: the last moment to begin with it lies this much before the deadline, or a quarter of the grace.
static const int64_t longest_kill_margin_ns = 100 * 1000 * 1000;

static int64_t smaller(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static int64_t sum(int64_t instant, int64_t interval) {
    int64_t result;
    if (__builtin_add_overflow(instant, interval, &result)) return interval < 0 ? INT64_MIN : INT64_MAX;
    return result;
}

struct csup_rules csup_rules_begin(int64_t deadline_ns, int64_t grace_ns) {
    return (struct csup_rules){
        .deadline_ns = deadline_ns,
        .grace_ns = grace_ns > 0 ? grace_ns : 0,
        .recheck_ns = first_recheck_ns,
    };
}

void csup_rules_deadline_moved(struct csup_rules *rules, int64_t deadline_ns) {
    rules->deadline_ns = deadline_ns;
}

void csup_rules_dlock_died(struct csup_rules *rules) {
    rules->dlock_dead = true;
}

void csup_rules_terminate_asked(struct csup_rules *rules) {
    rules->terminate_asked = true;
}

void csup_rules_leader_exited(struct csup_rules *rules) {
    rules->leader_exited = true;
}

void csup_rules_group_emptied(struct csup_rules *rules) {
    rules->group_empty = true;
}

int64_t csup_rules_soft_limit_ns(const struct csup_rules *rules) {
    return sum(rules->deadline_ns, -rules->grace_ns);
}

int64_t csup_rules_hard_limit_ns(const struct csup_rules *rules) {
    return sum(rules->deadline_ns, -smaller(rules->grace_ns / 4, longest_kill_margin_ns));
}

// Processes that are not the watchdog's children die without a word to it, so while it stops a command that has no
// leader any more it looks again, ever more rarely.
static int64_t next_recheck_ns(struct csup_rules *rules, int64_t now_ns) {
    int64_t at = sum(now_ns, rules->recheck_ns);
    rules->recheck_ns = smaller(rules->recheck_ns * 2, longest_recheck_ns);
    return at;
}

struct csup_decision csup_rules_decide(struct csup_rules *rules, int64_t now_ns) {
    if (rules->leader_exited && rules->group_empty) {
        // When both became known at once, the order is not: a command that may have been stopped counts as stopped.
        if (!rules->stopping) rules->stopped_by_watchdog = rules->terminate_asked;
        return (struct csup_decision){CSUP_DO_FINISH, now_ns};
    }
    int64_t soft_ns = csup_rules_soft_limit_ns(rules);
    if (!rules->stopping) {
        bool must_stop = rules->dlock_dead || rules->terminate_asked || rules->leader_exited || now_ns >= soft_ns;
        if (!must_stop) return (struct csup_decision){CSUP_DO_WAIT, soft_ns};
        // Once begun, stopping is never called off: the command has seen SIGTERM and is half way out.
        rules->stopping = true;
        rules->stopping_since_ns = now_ns;
        rules->stopped_by_watchdog = !rules->leader_exited || rules->terminate_asked;
    }
    int64_t kill_at_ns = smaller(sum(rules->stopping_since_ns, rules->grace_ns), csup_rules_hard_limit_ns(rules));
    if (now_ns >= kill_at_ns) {
        return (struct csup_decision){CSUP_DO_KILL, next_recheck_ns(rules, now_ns)};
    }
    int64_t wake_at_ns = kill_at_ns;
    if (rules->leader_exited) wake_at_ns = smaller(kill_at_ns, next_recheck_ns(rules, now_ns));
    return (struct csup_decision){CSUP_DO_TERMINATE, wake_at_ns};
}
