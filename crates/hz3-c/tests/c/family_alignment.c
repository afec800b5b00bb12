/* Is every alignment up to 128 MiB kept, for every way to ask, with blocks that stay apart? */
#define _GNU_SOURCE
#include "check.h"
#include <malloc.h>

#define LARGEST ((size_t)128 << 20)

static void *ask(int way, size_t align, size_t size)
{
    void *out = NULL;
    switch (way) {
    case 0:
        return memalign(align, size);
    case 1:
        return aligned_alloc(align, size);
    default:
        return posix_memalign(&out, align < 8 ? 8 : align, size) ? NULL : out;
    }
}

/* The first and the last pages: whole blocks of 128 MiB would take minutes. */
static void stamp(char *block, size_t size, size_t seed)
{
    size_t edge = size < 8192 ? size : 4096;
    fill(block, edge, seed);
    fill(block + size - edge, edge, seed + 1);
    if (edge == size) {
        fill(block, edge, seed);
    }
}

static int stamped(char *block, size_t size, size_t seed)
{
    size_t edge = size < 8192 ? size : 4096;
    return intact(block, edge, seed) == edge &&
           (edge == size || intact(block + size - edge, edge, seed + 1) == edge);
}

int main(void)
{
    static const size_t sizes[] = {0, 1, 15, 16, 17, 100, 1000, 4095, 4096, 4097, 33000, 70000,
                                   1 << 20, 5000001};
    enum { SIZES = sizeof sizes / sizeof *sizes };
    require_hz3();
    for (size_t align = 1; align <= LARGEST; align *= 2) {
        char *blocks[3 * SIZES];
        size_t usable[3 * SIZES];
        size_t count = align > (8 << 20) ? 3 : 3 * SIZES;
        for (size_t i = 0; i < count; i++) {
            size_t size = sizes[(i / 3) % SIZES];
            blocks[i] = ask(i % 3, align, size);
            REQUIRE(blocks[i], "way %zu: align %zu, size %zu gave NULL", i % 3, align, size);
            CHECK((uintptr_t)blocks[i] % align == 0 && (uintptr_t)blocks[i] % 16 == 0,
                  "way %zu: align %zu, size %zu gave %p", i % 3, align, size, (void *)blocks[i]);
            usable[i] = malloc_usable_size(blocks[i]);
            CHECK(usable[i] >= size, "align %zu, size %zu: %zu usable", align, size, usable[i]);
            stamp(blocks[i], usable[i], i);
        }
        for (size_t i = 0; i < count; i++) {
            CHECK(stamped(blocks[i], usable[i], i), "align %zu: block %zu was overwritten", align,
                  i);
            /* Half of them move. Contents are preserved with every alignment. */
            if (i % 2) {
                size_t keep = usable[i] < 4096 ? usable[i] : 4096;
                char *moved = realloc(blocks[i], usable[i] + 5000);
                CHECK(moved && intact(moved, keep, i) == keep, "align %zu: realloc lost block %zu",
                      align, i);
                blocks[i] = moved;
            }
        }
        for (size_t i = 0; i < count; i++) {
            free(blocks[i]);
        }
    }
    return finish();
}
