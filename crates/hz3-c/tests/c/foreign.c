/* The program passes blocks of the C library's allocator to hz3: does their owner free, resize and
 * measure them? */
#define _GNU_SOURCE
#include "check.h"
#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <pthread.h>

static void *(*libc_malloc)(size_t);
static size_t (*libc_usable_size)(void *);

static size_t libc_in_use(void *libc)
{
    struct mallinfo2 (*info)(void) = (struct mallinfo2(*)(void))dlsym(libc, "mallinfo2");
    struct mallinfo2 now = info();
    return now.uordblks + now.hblkhd;
}

static void *other_thread(void *unused)
{
    for (int i = 0; i < 1000; i++) {
        char *block = libc_malloc(100 + i);
        fill(block, 100, i);
        block = realloc(block, 5000);
        CHECK(intact(block, 100, i) == 100, "block %d", i);
        free(block);
    }
    return unused;
}

int main(void)
{
    require_hz3();
    void *libc = dlopen("libc.so.6", RTLD_NOW | RTLD_NOLOAD);
    REQUIRE(libc, "%s", dlerror());
    libc_malloc = (void *(*)(size_t))dlsym(libc, "__libc_malloc");
    libc_usable_size = (size_t(*)(void *))dlsym(libc, "malloc_usable_size");
    REQUIRE(libc_malloc && libc_usable_size, "%s", dlerror());
    REQUIRE((void *)libc_malloc != (void *)malloc, "this is hz3's own");

    /* The first foreign pointer of the process, with a dlsym that allocates on failure. */
    CHECK(!dlsym(RTLD_NEXT, "no such function"), "found");
    size_t before = libc_in_use(libc);
    static const size_t sizes[] = {1, 24, 100, 5000, 100000, 1 << 20, 100 << 20};
    for (int round = 0; round < 200; round++) {
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            size_t size = sizes[i];
            char *block = libc_malloc(size);
            size_t edge = size < 1000 ? size : 1000;
            CHECK(malloc_usable_size(block) == libc_usable_size(block), "size %zu", size);
            fill(block, edge, i);
            errno = 4242;
            block = realloc(block, size * 2);
            CHECK(block && intact(block, edge, i) == edge, "size %zu: realloc", size);
            CHECK(libc_usable_size(block) >= size * 2, "size %zu: not with its owner", size);
            CHECK(realloc(block, (size_t)1 << 60) == NULL && errno == ENOMEM, "errno %d", errno);
            errno = 4242;
            if (round % 3 == 0) {
                CHECK(realloc(block, 0) == NULL, "realloc to 0");
            } else {
                free(block);
            }
            CHECK(errno == 4242, "errno %d", errno);
        }
    }
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) {
        pthread_create(&threads[i], NULL, other_thread, NULL);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
    }
    size_t after = libc_in_use(libc);
    CHECK(after <= before + (1 << 20), "the C library holds %zu, before %zu", after, before);
    return finish();
}
