/* Does hz3_utilization say how full the slabs of blocks are, and zeros for everything else? Does a
 * program that moves blocks out of sparse slabs get memory back? */
#include "check.h"
#include <errno.h>
#include <sys/mman.h>

#include "hz3.h"
#pragma weak hz3_utilization

enum { BLOCKS = 100000, SIZE = 200, KEPT_OF = 50 };

static void *blocks[BLOCKS];
static struct hz3_slab_use found[BLOCKS];

static int is_none(const void *pointer)
{
    struct hz3_slab_use use = {1, 1, 1};
    hz3_utilization(&pointer, 1, &use);
    return !use.block_bytes && !use.blocks && !use.used;
}

/* Asks about the first `count` blocks, and checks what holds for each block in use. */
static void check_all(size_t count)
{
    hz3_utilization((const void *const *)blocks, count, found);
    for (size_t i = 0; i < count; i++) {
        CHECK(found[i].block_bytes >= SIZE && found[i].used >= 1 &&
                  found[i].used <= found[i].blocks,
              "block %zu: %zu bytes, %zu of %zu", i, found[i].block_bytes, found[i].used,
              found[i].blocks);
    }
}

static void slabs(void)
{
    for (size_t i = 0; i < BLOCKS; i++) {
        blocks[i] = malloc(SIZE);
        fill(blocks[i], SIZE, i);
    }
    hz3_collect();
    check_all(BLOCKS);
    size_t full = 0;
    for (size_t i = 0; i < BLOCKS; i++) {
        full += found[i].used == found[i].blocks;
    }
    CHECK(full > BLOCKS / 10 * 9, "%zu blocks in full slabs", full);

    void *freed = blocks[1];
    size_t kept = 0;
    for (size_t i = 0; i < BLOCKS; i++) {
        if (i % KEPT_OF == 0) {
            blocks[kept++] = blocks[i];
        } else {
            free(blocks[i]);
        }
    }
    hz3_collect();
    CHECK(is_none(freed), "a freed block");
    check_all(kept);
    long long before = statistic("active");
    /* Every slab is sparse. The copies fill the fullest ones, and the others become empty. */
    static void *copies[BLOCKS];
    for (size_t i = 0; i < kept; i++) {
        CHECK(found[i].used * 10 < found[i].blocks, "%zu of %zu", found[i].used, found[i].blocks);
        copies[i] = malloc(SIZE);
        memcpy(copies[i], blocks[i], SIZE);
    }
    for (size_t i = 0; i < kept; i++) {
        free(blocks[i]);
        blocks[i] = copies[i];
    }
    hz3_collect();
    long long after = statistic("active");
    CHECK(after < before / 4, "%lld bytes in slabs, before %lld", after, before);
    for (size_t i = 0; i < kept; i++) {
        CHECK(intact(blocks[i], SIZE, i * KEPT_OF) == SIZE, "block %zu", i);
        free(blocks[i]);
    }
}

static void other_pointers(void)
{
    char *large = malloc(1 << 20), *huge = malloc(100 << 20), *small = malloc(10);
    const void *pointers[] = {NULL, large, small, &large};
    struct hz3_slab_use use[4];
    errno = 77;
    hz3_utilization(pointers, 4, use);
    CHECK(errno == 77, "errno: %d", errno);
    CHECK(!use[0].block_bytes && !use[0].blocks && !use[0].used, "NULL");
    CHECK(use[1].block_bytes >= 1 << 20 && use[1].blocks == 1 && use[1].used == 1, "large");
    CHECK(use[2].block_bytes == 16 && use[2].blocks > 8 && use[2].used >= 1, "small");
    CHECK(!use[3].block_bytes, "of the stack");
    const void *pointer = huge;
    hz3_utilization(&pointer, 1, use);
    CHECK(use[0].block_bytes >= 100 << 20 && use[0].blocks == 1 && use[0].used == 1, "huge");
    CHECK(is_none(large + 1) && is_none(large + 4096) && is_none(huge + 4096), "inside a block");
    CHECK(is_none(small + 1) && is_none((void *)1) && is_none((void *)-1), "no block");
    void *mapping = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(is_none(mapping) && is_none(stdout) && is_none("text"), "foreign");
    free(large);
    free(huge);
    hz3_collect();
    CHECK(is_none(large) && is_none(huge), "freed");
    free(small);
    hz3_utilization(NULL, 3, use);
    hz3_utilization(pointers, 3, NULL);
    hz3_utilization(pointers, 0, use);
}

int main(void)
{
    require_hz3();
    REQUIRE(hz3_utilization, "no hz3_utilization");
    slabs();
    other_pointers();
    return finish();
}
