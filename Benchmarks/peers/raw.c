// What the peers of the embedded backend cost: commits of SQLite, and commands from start to end.
//
//   raw commits FILE SECONDS                       prints commits per second
//   raw spawn TIMES COMMAND [ARG…] ++ COMMAND …    prints for each command the median time in
//                                                  microseconds, and how many times it failed

#include <errno.h>
#include <spawn.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

extern char **environ;

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

static void fail(const char *what) {
    fprintf(stderr, "raw: %s\n", what);
    exit(69);
}

static void run(sqlite3 *db, const char *sql) {
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK) fail(sqlite3_errmsg(db));
}

static sqlite3_stmt *prepare(sqlite3 *db, const char *sql) {
    sqlite3_stmt *statement = NULL;
    if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) != SQLITE_OK) fail(sqlite3_errmsg(db));
    return statement;
}

static void step(sqlite3 *db, sqlite3_stmt *statement) {
    if (sqlite3_step(statement) != SQLITE_DONE) fail(sqlite3_errmsg(db));
    sqlite3_reset(statement);
}

static int commits(const char *path, double seconds) {
    sqlite3 *db = NULL;
    if (sqlite3_open(path, &db) != SQLITE_OK) fail("the file cannot be opened");
    run(db, "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;");
    run(db, "CREATE TABLE t (id INTEGER PRIMARY KEY, value INTEGER NOT NULL); INSERT INTO t VALUES (1, 0);");
    sqlite3_stmt *begin = prepare(db, "BEGIN IMMEDIATE");
    sqlite3_stmt *update = prepare(db, "UPDATE t SET value = value + 1 WHERE id = 1");
    sqlite3_stmt *commit = prepare(db, "COMMIT");
    long count = 0;
    double start = now(), end = start + seconds, time = start;
    while (time < end) {
        step(db, begin);
        step(db, update);
        step(db, commit);
        count++;
        time = now();
    }
    printf("%.1f\n", count / (time - start));
    sqlite3_finalize(begin);
    sqlite3_finalize(update);
    sqlite3_finalize(commit);
    sqlite3_close(db);
    return 0;
}

static double spawn_once(char **arguments, int *failures) {
    pid_t child;
    int status;
    double start = now();
    int code = posix_spawnp(&child, arguments[0], NULL, NULL, arguments, environ);
    if (code != 0) fail(strerror(code));
    while (waitpid(child, &status, 0) < 0) {
        if (errno != EINTR) fail(strerror(errno));
    }
    double time = now() - start;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) ++*failures;
    return time;
}

static int compare(const void *left, const void *right) {
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

#define MAXIMUM_COMMANDS 8

static int spawn(int times, char **words) {
    char **commands[MAXIMUM_COMMANDS];
    double *results[MAXIMUM_COMMANDS];
    int failures[MAXIMUM_COMMANDS] = {0};
    int count = 0;
    commands[count++] = words;
    for (char **word = words; *word != NULL; word++) {
        if (strcmp(*word, "++") != 0) continue;
        if (count == MAXIMUM_COMMANDS) fail("too many commands");
        *word = NULL;
        commands[count++] = word + 1;
    }
    for (int index = 0; index < count; index++) {
        results[index] = calloc(times, sizeof(double));
        if (results[index] == NULL) fail("no memory");
        spawn_once(commands[index], &failures[index]);
    }
    for (int turn = 0; turn < times; turn++) {
        for (int index = 0; index < count; index++) {
            results[index][turn] = spawn_once(commands[index], &failures[index]);
        }
    }
    for (int index = 0; index < count; index++) {
        qsort(results[index], times, sizeof(double), compare);
        printf("%.1f %d\n", results[index][times / 2] * 1e6, failures[index]);
        free(results[index]);
    }
    return 0;
}

int main(int count, char **arguments) {
    if (count == 4 && strcmp(arguments[1], "commits") == 0) return commits(arguments[2], atof(arguments[3]));
    if (count >= 4 && strcmp(arguments[1], "spawn") == 0 && atoi(arguments[2]) > 0) {
        return spawn(atoi(arguments[2]), arguments + 3);
    }
    fprintf(stderr, "usage: raw commits FILE SECONDS | raw spawn TIMES COMMAND [ARG...] [++ COMMAND [ARG...]]...\n");
    return 64;
}
