#ifndef CSIMULATOR_H
#define CSIMULATOR_H

#include <stdbool.h>
#include <stddef.h>

// Swift's concurrency runtime has places where a program can take over the jobs that would go to the global pool. They are not
// declared in any header of the toolchain; their types stand in swift/Runtime/Concurrency.h of the compiler's sources.

/// From now on every job for the global pool goes to `enqueue`, for the rest of the process. A job that is to wait by the real clock
/// ends the process: nothing that is simulated may do that. False: this runtime has no such places.
bool csim_take_over_jobs(void (*enqueue)(void *job));

/// Runs a job that was taken over, on the thread that calls.
void csim_run_job(void *job);

/// Begins a thread of this process, which is never waited for. False: there is none to be had.
bool csim_start_thread(void (*body)(void *context), void *context);

// Memory that simulated processes share, each at an address of its own.

/// A descriptor of memory without any bytes yet; -1 with errno.
int csim_shared_make(void);

/// Makes it this long, with zeros where nothing was.
bool csim_shared_resize(int descriptor, size_t length);

/// NULL if there is no room.
void *csim_shared_map(int descriptor, size_t offset, size_t length);

/// What is mapped there is a copy from now on, which nobody else sees.
bool csim_shared_detach(void *address, size_t length);

void csim_shared_unmap(void *address, size_t length);

void csim_shared_close(int descriptor);

// Lua 5.1, as the system has it (Debian: liblua5.1-0). Loaded when it is needed: whoever only builds this needs none.

typedef struct lua_State lua_State;

/// `redis.call` and `redis.pcall`: the arguments are on the stack. Returns how many results it has put there, or -1 if the one on top
/// is to be raised as an error.
typedef int (*csim_lua_call)(void *context, lua_State *state, bool isProtected);

struct csim_lua {
    int (*gettop)(lua_State *);
    void (*settop)(lua_State *, int);
    int (*type)(lua_State *, int);
    const char *(*tolstring)(lua_State *, int, size_t *);
    double (*tonumber)(lua_State *, int);
    int (*toboolean)(lua_State *, int);
    size_t (*objlen)(lua_State *, int);
    void (*rawgeti)(lua_State *, int, int);
    void (*rawseti)(lua_State *, int, int);
    void (*getfield)(lua_State *, int, const char *);
    void (*setfield)(lua_State *, int, const char *);
    void (*createtable)(lua_State *, int, int);
    void (*pushnil)(lua_State *);
    void (*pushnumber)(lua_State *, double);
    void (*pushboolean)(lua_State *, int);
    void (*pushlstring)(lua_State *, const char *, size_t);
    int (*loadbuffer)(lua_State *, const char *, size_t, const char *);
    int (*pcall)(lua_State *, int, int, int);
    int (*checkstack)(lua_State *, int);
    void (*close)(lua_State *);
};

enum {
    CSIM_LUA_GLOBALS = -10002,
    CSIM_LUA_REGISTRY = -10000,
    CSIM_LUA_NIL = 0,
    CSIM_LUA_BOOLEAN = 1,
    CSIM_LUA_NUMBER = 3,
    CSIM_LUA_STRING = 4,
    CSIM_LUA_TABLE = 5,
};

/// NULL: there is no Lua 5.1, and `reason` says why.
const struct csim_lua *csim_lua_load(const char **reason);

/// A state with Lua's base, table, string and math libraries and a table `redis`, whose calls go to `call`.
lua_State *csim_lua_open(void *context, csim_lua_call call);

#endif
