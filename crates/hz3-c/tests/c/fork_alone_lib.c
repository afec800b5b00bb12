/* A library whose fork handler, registered before hz3's, starts a thread that is nearly always under
 * a lock of the heap's. */
#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>

static int starts_thread, is_working;

void fork_alone_arm(void) { starts_thread = 1; }

static void *run(void *unused)
{
    for (size_t i = 0;; i++) {
        void *blocks[40];
        for (size_t k = 0; k < 40; k++) {
            blocks[k] = malloc(20000 + (i + k) % 7 * 9000);
        }
        for (size_t k = 0; k < 40; k++) {
            free(blocks[k]);
        }
        malloc_trim(0);
        __atomic_store_n(&is_working, 1, __ATOMIC_RELEASE);
    }
    return unused;
}

static void start(void)
{
    pthread_t thread;
    if (!starts_thread || pthread_create(&thread, NULL, run, NULL) != 0) {
        return;
    }
    while (!__atomic_load_n(&is_working, __ATOMIC_ACQUIRE)) {
    }
}

__attribute__((constructor)) static void load(void) { pthread_atfork(start, NULL, NULL); }
