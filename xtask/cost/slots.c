/* The loop of the cost table: slots THREADS LOW HIGH STEPS.
 * Every thread has 400 slots; a step takes one at random, frees what is there and allocates LOW..HIGH
 * bytes, of which it writes the first and the last. Prints steps per second of all threads together. */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { SLOTS = 400, MOST_THREADS = 64 };

static size_t low, span;
static unsigned long steps;
static pthread_barrier_t barrier;

static uint64_t next(uint64_t *state) {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545f4914f6cdd1dULL;
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static void run(char **slots, uint64_t *state, unsigned long count) {
    for (unsigned long i = 0; i < count; i++) {
        uint64_t bits = next(state);
        size_t slot = (size_t)((bits >> 32) * SLOTS >> 32);
        size_t size = low + (size_t)((bits & 0xffffffff) * span >> 32);
        free(slots[slot]);
        char *block = malloc(size);
        if (!block) abort();
        block[0] = 1;
        block[size - 1] = 1;
        slots[slot] = block;
    }
}

static void *work(void *argument) {
    uint64_t state = 0x9e3779b97f4a7c15ULL * (uint64_t)(uintptr_t)argument;
    char *slots[SLOTS] = {0};
    run(slots, &state, steps / 10);
    pthread_barrier_wait(&barrier);
    run(slots, &state, steps);
    pthread_barrier_wait(&barrier);
    for (int i = 0; i < SLOTS; i++) free(slots[i]);
    return NULL;
}

int main(int count, char **arguments) {
    if (count != 5) return 2;
    unsigned long threads = strtoul(arguments[1], NULL, 10);
    low = strtoul(arguments[2], NULL, 10);
    span = strtoul(arguments[3], NULL, 10) - low + 1;
    steps = strtoul(arguments[4], NULL, 10);
    if (threads < 1 || threads > MOST_THREADS) return 2;
    pthread_t ids[MOST_THREADS];
    pthread_barrier_init(&barrier, NULL, (unsigned)threads + 1);
    for (unsigned long i = 0; i < threads; i++)
        if (pthread_create(&ids[i], NULL, work, (void *)(uintptr_t)(i + 1))) return 3;
    pthread_barrier_wait(&barrier);
    double start = now();
    pthread_barrier_wait(&barrier);
    double seconds = now() - start;
    for (unsigned long i = 0; i < threads; i++) pthread_join(ids[i], NULL);
    printf("%.0f\n", (double)(threads * steps) / seconds);
    return 0;
}
