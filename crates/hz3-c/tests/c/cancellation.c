/* A thread with a pending cancellation calls every function: no call of the allocator may end the
 * thread, because a lock would stay held or a file open. */
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <unistd.h>

#include "check.h"

extern void hz3_epoch_force(void) __attribute__((weak));

static pthread_barrier_t pending;
static const char *volatile step = "nothing";

static void *calls(void *unused)
{
    void *block = NULL;
    (void)unused;
    pthread_barrier_wait(&pending);
    step = "malloc";
    for (size_t size = 1; size < (size_t)1 << 27; size = size * 3 / 2 + 1) {
        block = realloc(block, size);
        free(malloc(size));
        free(calloc(1, size));
    }
    free(block);
    step = "a failing malloc";
    free(malloc((size_t)1 << 62));
    step = "malloc_trim";
    malloc_trim(0);
    step = "hz3_collect";
    hz3_collect();
    step = "hz3_epoch_force";
    hz3_epoch_force();
    step = "mallinfo2";
    mallinfo2();
    step = "hz3_stats_json";
    statistic("resident");
    step = "malloc_stats";
    malloc_stats();
    step = "pthread_testcancel";
    pthread_testcancel();
    step = "the end";
    return NULL;
}

int main(void)
{
    require_hz3();
    int before = dup(0);
    close(before);
    pthread_barrier_init(&pending, NULL, 2);
    for (int turn = 0; turn < 3; turn++) {
        pthread_t thread;
        void *result;
        REQUIRE(pthread_create(&thread, NULL, calls, NULL) == 0, "no thread");
        /* The barrier is no cancellation point, so the request is pending when the calls begin. */
        REQUIRE(pthread_cancel(thread) == 0, "no cancellation");
        pthread_barrier_wait(&pending);
        REQUIRE(pthread_join(thread, &result) == 0, "not joined");
        CHECK(result == PTHREAD_CANCELED && strcmp(step, "pthread_testcancel") == 0,
              "the thread ended in %s", step);
    }
    int after = dup(0);
    close(after);
    CHECK(before == after, "a file stayed open: %d before, %d after", before, after);
    return finish();
}
