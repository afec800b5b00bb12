/* swing MIB ROUNDS: one thread allocates and touches so many MiB in blocks of 1 KiB, frees them all,
 * and begins again without a pause. Prints the CPU time of each round in milliseconds. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double cpu_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return now.tv_sec * 1e3 + now.tv_nsec * 1e-6;
}

int main(int argc, char **argv)
{
    size_t count = argc > 2 ? strtoull(argv[1], NULL, 10) << 10 : 0;
    int rounds = argc > 2 ? atoi(argv[2]) : 0;
    char **blocks = malloc(count * sizeof *blocks + 1);
    if (!blocks || rounds < 1) {
        fprintf(stderr, "usage: swing MIB ROUNDS\n");
        return 2;
    }
    for (int round = 0; round < rounds; round++) {
        double start = cpu_ms();
        for (size_t i = 0; i < count; i++) {
            blocks[i] = memset(malloc(1024), 1, 1024);
        }
        for (size_t i = 0; i < count; i++) {
            free(blocks[i]);
        }
        printf("%.1f%c", cpu_ms() - start, round + 1 < rounds ? ' ' : '\n');
    }
    return 0;
}
