/* A library that knows nothing of hz3, whose fork handlers allocate: they run while hz3 may hold
 * its locks, if hz3's own handlers come in the wrong order. */
#include <pthread.h>
#include <stdlib.h>

static void work(void)
{
    static void *kept;
    free(kept);
    for (int i = 0; i < 300; i++) {
        free(malloc((size_t)i * 400));
    }
    kept = malloc(20000);
}

__attribute__((constructor)) static void load(void) { pthread_atfork(work, work, work); }
