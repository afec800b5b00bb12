/* A library that allocates in its constructor, passes the block on, and allocates in its
 * destructor. */
#include <stdlib.h>
#include <string.h>

static char *block;
static char *other;

char *early_take(void);

__attribute__((constructor)) static void load(void)
{
    block = malloc(500);
    other = malloc(5000);
    for (size_t i = 0; i < 500; i++) {
        block[i] = (char)(9 * 131 + i * 7 + (i >> 8));
    }
}

char *early_take(void) { return block; }

__attribute__((destructor)) static void unload(void)
{
    free(other);
    other = calloc(100, 100);
    free(realloc(other, 200000));
}
