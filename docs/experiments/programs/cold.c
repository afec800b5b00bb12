/* What refills and flushes cost: cold SIZE BLOCKS ROUNDS fifo|lifo|random allocates BLOCKS blocks and
 * frees them in that order, ROUNDS times. With 8 blocks every pair takes the fast path, with 20,000
 * nearly every block goes through central: the difference, by pairs, is the cold path. */
#include <stdlib.h>

enum { MOST = 1 << 20 };

static void *blocks[MOST];
static size_t order[MOST];

static void shuffle(size_t count) {
    unsigned random = 1;
    for (size_t i = count - 1; i > 0; i--) {
        random = random * 1664525u + 1013904223u;
        size_t other = (random >> 8) % (i + 1), kept = order[i];
        order[i] = order[other];
        order[other] = kept;
    }
}

int main(int count, char **arguments) {
    if (count != 5) return 2;
    size_t size = strtoul(arguments[1], NULL, 10), number = strtoul(arguments[2], NULL, 10);
    unsigned long rounds = strtoul(arguments[3], NULL, 10);
    if (number == 0 || number > MOST) return 2;
    for (size_t i = 0; i < number; i++) order[i] = *arguments[4] == 'l' ? number - 1 - i : i;
    if (*arguments[4] == 'r') shuffle(number);
    for (unsigned long round = 0; round < rounds; round++) {
        for (size_t i = 0; i < number; i++) blocks[i] = malloc(size);
        for (size_t i = 0; i < number; i++) free(blocks[order[i]]);
    }
    return 0;
}
