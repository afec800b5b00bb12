/* A library that does not use hz3 and whose fork handlers allocate. If hz3 registered its own
 * handlers too late, these would run while hz3 holds its locks. */
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
