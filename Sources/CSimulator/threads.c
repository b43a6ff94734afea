#define _GNU_SOURCE
#include "csimulator.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct beginning {
    void (*body)(void *context);
    void *context;
};

static void *begin(void *argument) {
    struct beginning beginning = *(struct beginning *)argument;
    free(argument);
    beginning.body(beginning.context);
    return NULL;
}

bool csim_start_thread(void (*body)(void *context), void *context) {
    struct beginning *beginning = malloc(sizeof *beginning);
    if (!beginning) return false;
    *beginning = (struct beginning){body, context};
    pthread_t thread;
    if (pthread_create(&thread, NULL, begin, beginning)) {
        free(beginning);
        return false;
    }
    return pthread_detach(thread) == 0;
}

int csim_shared_make(void) { return memfd_create("dlock-simulation", MFD_CLOEXEC); }

bool csim_shared_resize(int descriptor, size_t length) { return ftruncate(descriptor, (off_t)length) == 0; }

void *csim_shared_map(int descriptor, size_t offset, size_t length) {
    void *address = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, (off_t)offset);
    return address == MAP_FAILED ? NULL : address;
}

bool csim_shared_detach(void *address, size_t length) {
    void *copy = malloc(length);
    if (!copy) return false;
    memcpy(copy, address, length);
    void *own = mmap(address, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS, -1, 0);
    if (own == address) memcpy(address, copy, length);
    free(copy);
    return own == address;
}

void csim_shared_unmap(void *address, size_t length) { munmap(address, length); }

void csim_shared_close(int descriptor) { close(descriptor); }
