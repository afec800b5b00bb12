/* What the rest of the malloc family costs: family calloc|stay|move|size BYTES ROUNDS, under a tool
 * that counts instructions, with two numbers of rounds: the difference, by rounds, is one call
 * (calloc with its free; move: one realloc to the double size and one back). */
#include <malloc.h>
#include <stdlib.h>

static volatile size_t seen;

int main(int count, char **arguments) {
    if (count != 4) return 2;
    size_t bytes = strtoul(arguments[2], NULL, 10);
    unsigned long rounds = strtoul(arguments[3], NULL, 10);
    char what = arguments[1][0] == 's' ? arguments[1][1] : arguments[1][0];
    void *block = malloc(bytes);
    for (unsigned long round = 0; round < rounds; round++) {
        if (what == 'c') free(calloc(1, bytes));
        if (what == 't') block = realloc(block, bytes - (round & 1));
        if (what == 'm') block = realloc(realloc(block, 3 * bytes), bytes);
        if (what == 'i') seen = malloc_usable_size(block);
    }
    free(block);
    return 0;
}
