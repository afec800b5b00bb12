/* Are blocks of all sizes apart, usable to their last byte, zeroed by calloc, kept by realloc? */
#include "check.h"
#include <malloc.h>

static size_t next_size(size_t size)
{
    /* Every size at first, then steps of about one percent that hit odd values. */
    return size < 300 ? size + 1 : size + size / 97 + 1;
}

#define LARGEST ((size_t)6 << 20)
#define BLOCKS 2048

static char *blocks[BLOCKS];
static size_t usable[BLOCKS];

static size_t allocate_all(void)
{
    size_t count = 0;
    for (size_t size = 0; size <= LARGEST; size = next_size(size)) {
        char *block = malloc(size);
        REQUIRE(block && count < BLOCKS, "malloc(%zu), block %zu", size, count);
        CHECK((uintptr_t)block % 16 == 0, "malloc(%zu) gave %p", size, (void *)block);
        usable[count] = malloc_usable_size(block);
        CHECK(usable[count] >= size, "malloc(%zu): %zu usable", size, usable[count]);
        fill(block, usable[count], count);
        blocks[count++] = block;
    }
    return count;
}

static void zeroed(void)
{
    for (size_t size = 0; size <= LARGEST; size = next_size(size)) {
        /* The block that was just freed is dirty, and is probably returned next. */
        char *dirty = malloc(size);
        memset(dirty, 0xee, size);
        free(dirty);
        char *block = calloc(size, 1);
        CHECK(block, "calloc(%zu)", size);
        for (size_t i = 0; i < size; i++) {
            if (block[i]) {
                CHECK(0, "calloc(%zu): byte %zu of %p is %d", size, i, (void *)block, block[i]);
                break;
            }
        }
        memset(block, 0xdd, size);
        free(block);
    }
}

static void resized(void)
{
    char *block = NULL;
    size_t held = 0;
    /* Up slowly, then down and up in leaps. */
    for (size_t size = 1; size <= LARGEST; size = next_size(size)) {
        block = realloc(block, size);
        REQUIRE(block, "realloc to %zu", size);
        CHECK(intact(block, held, 5) == held, "growing from %zu to %zu", held, size);
        fill(block, size, 5);
        held = size;
    }
    static const size_t leaps[] = {40, 3 << 20, 100, 40000, 35000, 33000, 32768, 20, 70 << 20,
                                   69 << 20, 5, 9 << 20, 1};
    for (size_t i = 0; i < sizeof leaps / sizeof *leaps; i++) {
        size_t common = held < leaps[i] ? held : leaps[i];
        block = realloc(block, leaps[i]);
        REQUIRE(block, "realloc to %zu", leaps[i]);
        CHECK(intact(block, common, 5) == common, "from %zu to %zu", held, leaps[i]);
        CHECK(malloc_usable_size(block) >= leaps[i], "after realloc to %zu", leaps[i]);
        fill(block, leaps[i], 5);
        held = leaps[i];
    }
    free(block);
}

int main(void)
{
    require_hz3();
    size_t count = allocate_all();
    for (size_t i = 0; i < count; i++) {
        CHECK(intact(blocks[i], usable[i], i) == usable[i],
              "block %zu of %zu bytes was overwritten", i, usable[i]);
        if (i % 2) {
            free(blocks[i]);
        }
    }
    zeroed();
    resized();
    for (size_t i = 0; i < count; i += 2) {
        CHECK(intact(blocks[i], usable[i], i) == usable[i], "survivor %zu was overwritten", i);
        free(blocks[i]);
    }
    return finish();
}
