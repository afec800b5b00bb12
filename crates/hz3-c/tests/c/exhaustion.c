/* Under a memory limit: does malloc return NULL with ENOMEM for each kind of block, are the blocks
 * intact, and does memory come back? The argument is the kind of limit ("outside": the parent
 * process has set it). */
#define _GNU_SOURCE
#include "check.h"
#include <errno.h>
#include <sys/mman.h>
#include <sys/resource.h>

/* No limit here allows more. A program that gets more runs without its limit and must stop. */
#define CEILING ((size_t)5 << 30)

/* The most bytes that are compared at each end of a block. */
#define LONGEST_EDGE 128

struct link {
    struct link *next;
    size_t size;
};

/* All of a small block, the edges of a large one: the contents must survive exhaustion. */
static size_t edge_of(size_t size)
{
    size_t body = size - sizeof(struct link);
    return body < LONGEST_EDGE ? body : 64;
}

static struct link *allocate_until_null(size_t size, size_t *count)
{
    struct link *list = NULL;
    unsigned char expected[LONGEST_EDGE];
    size_t total = 0, edge = edge_of(size);
    fill(expected, edge, size);
    *count = 0;
    for (;;) {
        errno = 0;
        struct link *block = malloc(size);
        if (!block) {
            CHECK(errno == ENOMEM, "size %zu: errno %d", size, errno);
            return list;
        }
        memcpy(block + 1, expected, edge);
        memcpy((char *)block + size - edge, expected, edge);
        block->next = list;
        block->size = size;
        list = block;
        *count += 1;
        total += size;
        REQUIRE(total < CEILING, "size %zu: no limit in force", size);
    }
}

static void check_and_free(struct link *list, size_t size)
{
    unsigned char expected[LONGEST_EDGE];
    size_t edge = edge_of(size);
    fill(expected, edge, size);
    while (list) {
        struct link *next = list->next;
        CHECK(list->size == size, "size %zu: it says %zu", size, list->size);
        CHECK(!memcmp(list + 1, expected, edge), "size %zu", size);
        CHECK(!memcmp((char *)list + size - edge, expected, edge), "size %zu", size);
        free(list);
        list = next;
    }
}

/* Fails in all other ways, while memory for one size is exhausted. */
static void everything_fails(struct link *held)
{
    void *out = &out;
    errno = 0;
    CHECK(!calloc(1, CEILING) && errno == ENOMEM, "calloc, errno %d", errno);
    errno = 0;
    CHECK(!realloc(NULL, CEILING) && errno == ENOMEM, "realloc of NULL, errno %d", errno);
    errno = 0;
    CHECK(!realloc(held, CEILING) && errno == ENOMEM, "realloc, errno %d", errno);
    errno = 0;
    CHECK(!aligned_alloc(1 << 20, CEILING) && errno == ENOMEM, "aligned_alloc, errno %d", errno);
    CHECK(posix_memalign(&out, 64, CEILING) == ENOMEM && out == &out, "posix_memalign");
}

int main(int argc, char **argv)
{
    static const size_t sizes[] = {64, 1000, 20000, 100000, 3 << 20, 100 << 20};
    require_hz3();
    REQUIRE(argc == 2, "no limit named");
    if (!strcmp(argv[1], "data")) {
        struct rlimit limit = {1 << 29, 1 << 29};
        REQUIRE(setrlimit(RLIMIT_DATA, &limit) == 0, "setrlimit: errno %d", errno);
    } else if (!strcmp(argv[1], "locked")) {
        REQUIRE(mlockall(MCL_CURRENT | MCL_FUTURE) == 0, "mlockall: errno %d", errno);
    }
    int rounds = strcmp(argv[1], "outside") ? 2 : 1;
    for (int round = 0; round < rounds; round++) {
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            size_t count, again;
            struct link *list = allocate_until_null(sizes[i], &count);
            CHECK(count * sizes[i] > 200 << 20, "size %zu: %zu blocks only", sizes[i], count);
            everything_fails(list);
            /* There is room for one block, and it is served. */
            if (list) {
                struct link *next = list->next;
                free(list);
                struct link *block = malloc(sizes[i]);
                CHECK(block, "size %zu: freed one, and got none", sizes[i]);
                free(block);
                list = next;
            }
            check_and_free(list, sizes[i]);
            list = allocate_until_null(sizes[i], &again);
            CHECK(again >= count / 10 * 9, "size %zu: %zu blocks, after free %zu", sizes[i], count,
                  again);
            check_and_free(list, sizes[i]);
        }
    }
    char *large = malloc(150 << 20);
    CHECK(large, "nothing is left of what was freed");
    free(large);
    return finish();
}
