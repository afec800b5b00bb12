/* A program that allocates a little, for tests of options in the environment. */
#include "check.h"

int main(void)
{
    require_hz3();
    for (size_t size = 1; size < 1000000; size *= 2) {
        char *block = calloc(size, 1);
        CHECK(block && !block[size - 1], "size %zu", size);
        free(block);
    }
    return finish();
}
