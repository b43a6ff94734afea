#define _GNU_SOURCE
#include "csimulator.h"

#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define SWIFTCC __attribute__((swiftcall))

typedef SWIFTCC void (*enqueue_original)(void *job);
typedef SWIFTCC void (*enqueue_hook)(void *job, enqueue_original original);
typedef SWIFTCC void (*delay_hook)(unsigned long long delay, void *job, void *original);
typedef SWIFTCC void (*deadline_hook)(
    long long sec, long long nsec, long long tsec, long long tnsec, int clock, void *job, void *original);

struct serial_executor {
    void *identity;
    uintptr_t implementation;
};
typedef SWIFTCC void (*job_run)(void *job, struct serial_executor executor);

static void (*taker)(void *job);
static job_run run_job;

static SWIFTCC void enqueue(void *job, enqueue_original original) {
    (void)original;
    taker(job);
}

static SWIFTCC void delayed(unsigned long long delay, void *job, void *original) {
    (void)delay, (void)job, (void)original;
    fputs("simulated code waits by the real clock\n", stderr);
    abort();
}

static SWIFTCC void timed(long long sec, long long nsec, long long tsec, long long tnsec, int clock, void *job, void *original) {
    (void)sec, (void)nsec, (void)tsec, (void)tnsec, (void)clock, (void)original;
    delayed(0, job, NULL);
}

bool csim_take_over_jobs(void (*take)(void *job)) {
    enqueue_hook *global = dlsym(RTLD_DEFAULT, "swift_task_enqueueGlobal_hook");
    delay_hook *delay = dlsym(RTLD_DEFAULT, "swift_task_enqueueGlobalWithDelay_hook");
    deadline_hook *deadline = dlsym(RTLD_DEFAULT, "swift_task_enqueueGlobalWithDeadline_hook");
    run_job = (job_run)dlsym(RTLD_DEFAULT, "swift_job_run");
    if (!global || !delay || !deadline || !run_job) return false;
    taker = take;
    *global = enqueue;
    *delay = delayed;
    *deadline = timed;
    return true;
}

void csim_run_job(void *job) {
    // The executor of those who prefer none.
    struct serial_executor generic = {NULL, 0};
    run_job(job, generic);
}

// Lua

static struct csim_lua api;
static lua_State *(*newstate)(void);
static void (*pushcclosure)(lua_State *, int (*)(lua_State *), int);
static void (*pushlightuserdata)(lua_State *, void *);
static void *(*touserdata)(lua_State *, int);
static int (*raise)(lua_State *);
static int (*open_base)(lua_State *), (*open_table)(lua_State *), (*open_string)(lua_State *), (*open_math)(lua_State *);
static csim_lua_call caller;

const struct csim_lua *csim_lua_load(const char **reason) {
    static int isLoaded;
    if (isLoaded) return &api;
    void *library = dlopen("liblua5.1.so.0", RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        *reason = dlerror();
        return NULL;
    }
#define FIND(place, name) \
    if (!(*(void **)&(place) = dlsym(library, name))) { \
        *reason = "liblua5.1.so.0 has no " name; \
        return NULL; \
    }
    FIND(api.gettop, "lua_gettop")
    FIND(api.settop, "lua_settop")
    FIND(api.type, "lua_type")
    FIND(api.tolstring, "lua_tolstring")
    FIND(api.tonumber, "lua_tonumber")
    FIND(api.toboolean, "lua_toboolean")
    FIND(api.objlen, "lua_objlen")
    FIND(api.rawgeti, "lua_rawgeti")
    FIND(api.rawseti, "lua_rawseti")
    FIND(api.getfield, "lua_getfield")
    FIND(api.setfield, "lua_setfield")
    FIND(api.createtable, "lua_createtable")
    FIND(api.pushnil, "lua_pushnil")
    FIND(api.pushnumber, "lua_pushnumber")
    FIND(api.pushboolean, "lua_pushboolean")
    FIND(api.pushlstring, "lua_pushlstring")
    FIND(api.loadbuffer, "luaL_loadbuffer")
    FIND(api.pcall, "lua_pcall")
    FIND(api.checkstack, "lua_checkstack")
    FIND(api.close, "lua_close")
    FIND(newstate, "luaL_newstate")
    FIND(pushcclosure, "lua_pushcclosure")
    FIND(pushlightuserdata, "lua_pushlightuserdata")
    FIND(touserdata, "lua_touserdata")
    FIND(raise, "lua_error")
    FIND(open_base, "luaopen_base")
    FIND(open_table, "luaopen_table")
    FIND(open_string, "luaopen_string")
    FIND(open_math, "luaopen_math")
#undef FIND
    isLoaded = 1;
    return &api;
}

// Where the first upvalue of a closure stands.
static const int first_upvalue = CSIM_LUA_GLOBALS - 1;

static int call_or_raise(lua_State *state, bool isProtected) {
    int count = caller(touserdata(state, first_upvalue), state, isProtected);
    // Only here: an error leaps over all frames up to the pcall that catches it, and those must not be Swift's.
    return count < 0 ? raise(state) : count;
}

static int redis_call(lua_State *state) { return call_or_raise(state, false); }
static int redis_pcall(lua_State *state) { return call_or_raise(state, true); }

static int reply_with(lua_State *state, const char *field) {
    api.createtable(state, 0, 1);
    size_t length = 0;
    const char *text = api.tolstring(state, 1, &length);
    api.pushlstring(state, text ? text : "", length);
    api.setfield(state, -2, field);
    return 1;
}

static int redis_error_reply(lua_State *state) { return reply_with(state, "err"); }
static int redis_status_reply(lua_State *state) { return reply_with(state, "ok"); }

lua_State *csim_lua_open(void *context, csim_lua_call call) {
    caller = call;
    lua_State *state = newstate();
    if (!state) return NULL;
    int (*libraries[])(lua_State *) = {open_base, open_table, open_string, open_math};
    for (size_t i = 0; i < sizeof libraries / sizeof *libraries; i++) {
        pushcclosure(state, libraries[i], 0);
        api.pcall(state, 0, 0, 0);
    }
    api.createtable(state, 0, 4);
    pushlightuserdata(state, context);
    pushcclosure(state, redis_call, 1);
    api.setfield(state, -2, "call");
    pushlightuserdata(state, context);
    pushcclosure(state, redis_pcall, 1);
    api.setfield(state, -2, "pcall");
    pushcclosure(state, redis_error_reply, 0);
    api.setfield(state, -2, "error_reply");
    pushcclosure(state, redis_status_reply, 0);
    api.setfield(state, -2, "status_reply");
    api.setfield(state, CSIM_LUA_GLOBALS, "redis");
    return state;
}
