// What the embedded backend needs from C: calls that Swift's view of the C library does not have, a function with a
// variable number of arguments, and loads from memory that other processes write.
#ifndef CEMBEDDED_H
#define CEMBEDDED_H

#include <stdbool.h>
#include <stdint.h>

// A pipe whose ends never block and are closed on exec, from the first instant on. 0, or -1 with errno.
int cemb_pipe(int ends[2]);

// Accepts a connection, which never blocks and is closed on exec from the first instant on. A descriptor, or -1 with errno.
int cemb_accept(int listener);

// The mount that a path is reached through, as it stands in /proc/self/mountinfo; -1 where that cannot be told. The path is
// not opened in a way that touches the locks which this process has on the file.
int64_t cemb_mount_id(const char *path);

// Leaves the log as it is when a connection of SQLite is closed, instead of moving it into the file, which waits for the
// disk. False where there is no SQLite, or one that cannot do so.
bool cemb_keep_log_on_close(void *connection);

// A word of the index of SQLite's log, which other processes change.
static inline uint32_t cemb_load(const volatile uint32_t *word) { return __atomic_load_n(word, __ATOMIC_ACQUIRE); }

#endif
