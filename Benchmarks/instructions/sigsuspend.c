// To be preloaded under valgrind 3.19, which writes to the mask that it is given here. Dispatch's is constant, and the main thread of a
// Swift program ends in this call. It only has to wait for ever; in short parts, so that valgrind can end it.
#include <poll.h>
#include <signal.h>

int sigsuspend(const sigset_t *mask) {
    (void)mask;
    for (;;) poll(0, 0, 100);
}
