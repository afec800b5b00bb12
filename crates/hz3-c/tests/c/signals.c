/* Timers interrupt allocating threads thousands of times; the handlers do not allocate. Does the
 * heap stay intact, and does no call fail with EINTR? */
#include "check.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/time.h>
#include <time.h>

static int signals_seen, stop;

static void handler(int number)
{
    (void)number;
    /* A handler may change errno if it restores it. */
    int kept = errno;
    errno = 999;
    __atomic_fetch_add(&signals_seen, 1, __ATOMIC_RELAXED);
    errno = kept;
}

static void *run(void *argument)
{
    unsigned seed = (unsigned)(uintptr_t)argument;
    char *held[64] = {0};
    size_t sizes[64] = {0};
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
        for (int i = 0; i < 1000; i++) {
            seed = seed * 1103515245 + 12345;
            unsigned pick = seed >> 8, slot = pick % 64;
            size_t edge = sizes[slot] < 64 ? sizes[slot] : 64;
            CHECK(intact(held[slot], edge, slot) == edge, "a block of %zu bytes", sizes[slot]);
            errno = 77;
            size_t most = pick % 100 == 0 ? 4000000 : pick % 20 == 0 ? 70000 : 1200;
            size_t size = pick % most;
            if (pick % 5 == 0) {
                held[slot] = realloc(held[slot], size + 1);
            } else {
                free(held[slot]);
                held[slot] = malloc(size + 1);
            }
            CHECK(held[slot] && errno == 77, "size %zu: %p, errno %d", size, (void *)held[slot],
                  errno);
            sizes[slot] = size + 1;
            fill(held[slot], sizes[slot] < 64 ? sizes[slot] : 64, slot);
        }
    }
    for (int i = 0; i < 64; i++) {
        free(held[i]);
    }
    return NULL;
}

int main(void)
{
    require_hz3();
    struct sigaction action = {.sa_handler = handler};
    /* No SA_RESTART: interrupted calls fail with EINTR. */
    sigaction(SIGALRM, &action, NULL);
    sigaction(SIGPROF, &action, NULL);
    pthread_t threads[4];
    for (uintptr_t i = 0; i < 4; i++) {
        pthread_create(&threads[i], NULL, run, (void *)(i + 1));
    }
    struct itimerval often = {{0, 200}, {0, 200}};
    setitimer(ITIMER_REAL, &often, NULL);
    setitimer(ITIMER_PROF, &often, NULL);
    /* Also sent to each thread, because the kernel chooses the thread for a timer's signal. */
    while (__atomic_load_n(&signals_seen, __ATOMIC_RELAXED) < 20000) {
        for (int i = 0; i < 4; i++) {
            pthread_kill(threads[i], SIGALRM);
        }
        hz3_collect();
    }
    struct itimerval never = {{0, 0}, {0, 0}};
    setitimer(ITIMER_REAL, &never, NULL);
    setitimer(ITIMER_PROF, &never, NULL);
    __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
    }
    return finish();
}
