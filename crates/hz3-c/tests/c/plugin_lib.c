/* A plugin with hz3 linked in. */
#include <stdlib.h>
#include <string.h>

__attribute__((visibility("default"))) void work(int mebibytes)
{
    char *blocks[16 * 64];
    for (int i = 0; i < 16 * mebibytes; i++) {
        blocks[i] = memset(malloc(65536), 1, 65536);
    }
    for (int i = 0; i < 16 * mebibytes; i++) {
        free(blocks[i]);
    }
    for (size_t i = 0; i < 300; i++) {
        blocks[i] = memset(malloc(i * 10 + 1), 1, 1);
    }
    for (size_t i = 0; i < 300; i++) {
        free(blocks[i]);
    }
}
