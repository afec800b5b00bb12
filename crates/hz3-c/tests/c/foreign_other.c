/* Blocks of another allocator library that was loaded after hz3. */
#define _GNU_SOURCE
#include "check.h"
#include <dlfcn.h>
#include <malloc.h>

int main(void)
{
    require_hz3();
    void *(*take)(size_t) = (void *(*)(size_t))dlsym(RTLD_DEFAULT, "other_take");
    int (*owns)(const void *) = (int (*)(const void *))dlsym(RTLD_DEFAULT, "other_owns");
    int *frees = dlsym(RTLD_DEFAULT, "other_frees");
    REQUIRE(take && owns && frees, "the other allocator is not loaded");
    int before = *frees;
    for (int i = 0; i < 100; i++) {
        char *block = take(100 + i);
        REQUIRE(owns(block), "%p", (void *)block);
        fill(block, 100, i);
        CHECK(malloc_usable_size(block) == (size_t)(100 + i), "%zu", malloc_usable_size(block));
        block = realloc(block, 300);
        CHECK(owns(block) && intact(block, 100, i) == 100, "%p", (void *)block);
        free(block);
    }
    CHECK(*frees - before == 100, "%d frees came through", *frees - before);
    return finish();
}
