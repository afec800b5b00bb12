/* Is the function of hz3_on_limit called before HZ3_LIMIT (64 MiB) makes an allocation fail, does
 * what it frees serve the request, and is the heap intact if it frees nothing? */
#include "check.h"
#include <errno.h>
#include <stdint.h>
#include <unistd.h>

#include "hz3.h"
#pragma weak hz3_on_limit

enum { MIB = 1 << 20, MOST = 1 << 20 };

static void *held[MOST];
static size_t held_size[MOST], count;
static void *reserve;
static int calls, depth, deepest;
static size_t wanted;
static int context;

/* Allocates blocks of a size until there is no room for one more. */
static void hold(size_t size)
{
    for (;;) {
        char *block = malloc(size);
        if (!block) {
            return;
        }
        REQUIRE(count < MOST, "no limit in force");
        fill(block, 64, count);
        held[count] = block;
        held_size[count++] = size;
    }
}

/* Fills the heap up to its limit, but for a reserve; no function is called meanwhile. */
static void fill_heap(size_t reserved)
{
    hz3_on_limit(NULL, NULL);
    reserve = reserved ? malloc(reserved) : NULL;
    hold(MIB);
    hold(64 << 10);
    hold(4096);
    hold(64);
}

static void release(void)
{
    while (count > 0) {
        count--;
        CHECK(intact(held[count], 64, count) == 64, "a block of %zu bytes", held_size[count]);
        free(held[count]);
    }
    free(reserve);
    reserve = NULL;
}

static void enter(size_t size, void *pointer)
{
    calls++;
    depth++;
    deepest = depth > deepest ? depth : deepest;
    wanted = size;
    CHECK(pointer == &context, "another context");
    errno = 33;
}

static void free_reserve(size_t size, void *pointer)
{
    enter(size, pointer);
    free(reserve);
    reserve = NULL;
    depth--;
}

static void do_nothing(size_t size, void *pointer)
{
    enter(size, pointer);
    depth--;
}

/* Allocates, which fails, and frees what it got. */
static void allocate(size_t size, void *pointer)
{
    enter(size, pointer);
    CHECK(!malloc(3 * MIB) && errno == ENOMEM, "there is room");
    CHECK(!calloc(3, MIB) && !realloc(NULL, 3 * MIB) && !aligned_alloc(4096, 3 * MIB), "room");
    free(reserve);
    reserve = NULL;
    void *some[100];
    for (int i = 0; i < 100; i++) {
        some[i] = malloc(i * 10);
        CHECK(some[i], "the reserve is free");
    }
    for (int i = 0; i < 100; i++) {
        free(some[i]);
    }
    char json[16];
    hz3_stats_json(json, sizeof json);
    hz3_collect();
    depth--;
}

/* The ways to ask for `size` bytes. */
static void *by_malloc(size_t size) { return malloc(size); }
static void *by_calloc(size_t size) { return calloc(1, size); }
static void *by_aligned(size_t size) { return aligned_alloc(4096, size); }
static void *by_memalign(size_t size)
{
    void *block = NULL;
    return posix_memalign(&block, 64, size) ? NULL : block;
}
static void *by_realloc(size_t size) { return realloc(NULL, size); }
static void *by_growth(size_t size)
{
    void *block = held[--count];
    void *grown = realloc(block, size);
    if (!grown) {
        count++;
        return NULL;
    }
    CHECK(intact(grown, 64, count) == 64, "the contents are lost");
    return grown;
}

static void frees(void (*function)(size_t, void *))
{
    void *(*ways[])(size_t) = {by_malloc,   by_calloc,  by_aligned,
                               by_memalign, by_realloc, by_growth};
    size_t sizes[] = {64, 30000, 2 * MIB};
    for (size_t way = 0; way < sizeof ways / sizeof *ways; way++) {
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            fill_heap(4 * MIB);
            hz3_on_limit(function, &context);
            calls = 0;
            errno = 77;
            /* Some small requests may still find blocks. */
            void *block[200] = {0};
            int asked = 0;
            for (; asked < 200 && calls == 0; asked++) {
                block[asked] = ways[way](sizes[i] + (ways[way] == by_growth ? 4096 : 0));
                CHECK(block[asked], "way %zu, %zu bytes", way, sizes[i]);
            }
            CHECK(calls == 1, "way %zu, %zu bytes: %d calls", way, sizes[i], calls);
            CHECK(wanted >= sizes[i] && wanted <= sizes[i] + 4096, "wanted %zu", wanted);
            CHECK(errno == 77, "errno %d", errno);
            while (asked > 0) {
                free(block[--asked]);
            }
            release();
        }
    }
}

static void nothing(void)
{
    fill_heap(0);
    hz3_on_limit(do_nothing, &context);
    errno = 0;
    CHECK(!malloc(2 * MIB) && errno == ENOMEM, "errno %d", errno);
    CHECK(calls == 1 && wanted == 2 * MIB, "%d calls, wanted %zu", calls, wanted);
    /* Memory that comes back is a reason to call again. */
    free(held[--count]);
    free(held[0]);
    held[0] = held[--count];
    fill(held[0], 64, 0);
    hold(MIB);
    CHECK(!malloc(2 * MIB) && calls >= 2, "%d calls", calls);
    calls = 0;
    CHECK(!malloc(PTRDIFF_MAX) && !malloc(SIZE_MAX) && !calloc(SIZE_MAX, 2), "no size");
    CHECK(calls == 0, "these fail without a limit too");
    hz3_on_limit(NULL, NULL);
    CHECK(!malloc(2 * MIB) && calls == 0, "there is no function");
    release();
    void *block = malloc(48 * MIB);
    CHECK(block, "nothing is left of what was freed");
    free(block);
}

int main(int argc, char **argv)
{
    require_hz3();
    REQUIRE(hz3_on_limit && argc > 1, "no hz3_on_limit, or no mode");
    if (!strcmp(argv[1], "frees")) {
        frees(free_reserve);
    } else if (!strcmp(argv[1], "allocates")) {
        frees(allocate);
    } else if (!strcmp(argv[1], "nothing")) {
        nothing();
    } else if (!strcmp(argv[1], "reclaim")) {
        hz3_on_limit(do_nothing, &context);
        void *block = malloc(100 * MIB);
        CHECK(block && calls == 0, "%d calls", calls);
        free(block);
    } else {
        /* The profile is written when the limit first refuses, and not at each refusal. */
        CHECK(access(argv[2], F_OK) != 0, "before the limit");
        fill_heap(0);
        CHECK(unlink(argv[2]) == 0, "no profile at the limit");
        CHECK(!malloc(2 * MIB) && access(argv[2], F_OK) != 0, "it is near all the time");
        release();
        hz3_collect();
        fill_heap(0);
        CHECK(unlink(argv[2]) == 0, "no profile at the limit, again");
        release();
    }
    CHECK(deepest <= 1, "the function was called inside itself");
    return finish();
}
