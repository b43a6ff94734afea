// The clocks of the system that Swift's standard library does not have. In C, because what a timespec belongs to for Swift depends
// on what else is imported (SwiftOverlayShims), and differs between debug and release builds of Swift 6.3.1.
#ifndef CKERNEL_H
#define CKERNEL_H

#include <stdint.h>
#include <time.h>

// Microseconds since 1970.
static inline int64_t ckernel_wall_clock(void) {
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    return (int64_t)time.tv_sec * 1000000 + time.tv_nsec / 1000;
}

// Nanoseconds by the clock under Swift's ContinuousClock.
static inline int64_t ckernel_boot_time(void) {
    struct timespec time;
#ifdef __linux__
    clock_gettime(CLOCK_BOOTTIME, &time);
#else
    clock_gettime(CLOCK_MONOTONIC, &time);
#endif
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

#endif
