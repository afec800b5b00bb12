/* Short threads: threads COUNT. Each is created, makes and frees 100 blocks, exits and is joined.
 * Prints nanoseconds a thread. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { BLOCKS = 100 };

static void *work(void *argument) {
    char *blocks[BLOCKS];
    (void)argument;
    for (int i = 0; i < BLOCKS; i++) {
        blocks[i] = malloc((size_t)(16 + i * 37 % 1000));
        if (!blocks[i]) abort();
        blocks[i][0] = 1;
    }
    for (int i = 0; i < BLOCKS; i++) free(blocks[i]);
    return NULL;
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static void churn(unsigned long count) {
    for (unsigned long i = 0; i < count; i++) {
        pthread_t id;
        if (pthread_create(&id, NULL, work, NULL)) exit(3);
        pthread_join(id, NULL);
    }
}

int main(int count, char **arguments) {
    if (count != 2) return 2;
    unsigned long threads = strtoul(arguments[1], NULL, 10);
    churn(threads / 10);
    double start = now();
    churn(threads);
    printf("%.0f\n", (now() - start) / (double)threads);
    return 0;
}
