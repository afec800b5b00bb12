/* A library whose fork handler waits for another thread of the program, as one that takes a lock of the
 * library's own does. */
#include <pthread.h>
#include <stddef.h>

static void (*waits)(void);

void fork_circle_set(void (*wait)(void))
{
    waits = wait;
}

static void prepare(void)
{
    if (waits) {
        waits();
    }
}

__attribute__((constructor)) static void load(void) { pthread_atfork(prepare, NULL, NULL); }
