/* malloc_trim in a loop: does it return 0 while nothing is freed, and does memory go back that was
 * freed meanwhile, also by a thread that then does nothing? */
#include "check.h"
#include <malloc.h>
#include <pthread.h>

enum { BLOCKS = 100000, SIZE = 200, LARGE = 300000 };

static char *blocks[BLOCKS];
static char *large;
static pthread_barrier_t begins, ends;

static void step(void)
{
    pthread_barrier_wait(&begins);
    pthread_barrier_wait(&ends);
}

/* Frees what main asks for, one kind at a step, and waits between the steps. */
static void *free_by_steps(void *nothing)
{
    pthread_barrier_wait(&begins);
    free(large);
    pthread_barrier_wait(&ends);
    pthread_barrier_wait(&begins);
    for (int i = BLOCKS / 2; i < BLOCKS / 2 + 2000; i++) {
        free(blocks[i]);
        blocks[i] = NULL;
    }
    pthread_barrier_wait(&ends);
    pthread_barrier_wait(&begins);
    free(blocks[0]);
    blocks[0] = NULL;
    pthread_barrier_wait(&ends);
    pthread_barrier_wait(&begins);
    return nothing;
}

static void settle(void)
{
    for (int i = 0; malloc_trim(0); i++) {
        REQUIRE(i < 100, "every trim gives something back");
    }
    for (int i = 0; i < 1000; i++) {
        CHECK(malloc_trim(0) == 0, "trim %d gave something back, and nothing was freed", i);
    }
}

int main(void)
{
    pthread_t thread;
    require_hz3();
    for (int i = 0; i < BLOCKS; i++) {
        blocks[i] = malloc(SIZE);
        fill(blocks[i], SIZE, i);
    }
    large = malloc(LARGE);
    fill(large, LARGE, 1);
    pthread_barrier_init(&begins, NULL, 2);
    pthread_barrier_init(&ends, NULL, 2);
    REQUIRE(pthread_create(&thread, NULL, free_by_steps, NULL) == 0, "pthread_create");

    settle();
    long long before = statistic("purged_bytes");
    step();
    CHECK(malloc_trim(0) == 1, "a large block");
    CHECK(statistic("purged_bytes") - before >= LARGE, "less than the block");

    settle();
    before = statistic("purged_bytes");
    step();
    CHECK(malloc_trim(0) == 1, "the blocks of whole slabs");
    CHECK(statistic("purged_bytes") - before >= 1500 * SIZE, "less than most of the blocks");

    settle();
    step();
    CHECK(malloc_trim(0) == 0, "the page of one block holds others");
    settle();
    long long holes = statistic("slack_holes"), dirty = statistic("dirty");
    CHECK(holes == 0 && dirty == 0, "%lld bytes in holes, %lld in free pages", holes, dirty);

    pthread_barrier_wait(&begins);
    pthread_join(thread, NULL);
    for (int i = 0; i < BLOCKS; i++) {
        CHECK(!blocks[i] || intact(blocks[i], SIZE, i) == SIZE, "block %d", i);
        free(blocks[i]);
    }
    CHECK(malloc_trim(0) == 1, "all blocks");
    return finish();
}
