/* Pairs of malloc and free of one size, for `cargo xtask fastpath`: pair SIZE COUNT.
 * The first rounds warm the cache up, so that every later pair takes the fast path. */
#include <stdlib.h>

enum { DEPTH = 32, ROUNDS = 8 };

int main(int count, char **arguments) {
    if (count != 3) return 2;
    size_t size = strtoul(arguments[1], NULL, 10);
    unsigned long pairs = strtoul(arguments[2], NULL, 10);
    void *warm[DEPTH];
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < DEPTH; i++) warm[i] = malloc(size);
        for (int i = 0; i < DEPTH; i++) free(warm[i]);
    }
    for (unsigned long i = 0; i < pairs; i++) {
        volatile char *block = malloc(size);
        *block = 1;
        free((void *)block);
    }
    return 0;
}
