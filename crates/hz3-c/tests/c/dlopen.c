/* A program on the C library's malloc loads libhz3.so by dlopen, uses it from threads by dlsym,
 * closes it, lets the threads end, and loads it again. */
#include "check.h"
#include <dlfcn.h>
#include <pthread.h>

enum { THREADS = 6, ROUNDS = 20 };

static void *(*its_malloc)(size_t);
static void *(*its_realloc)(void *, size_t);
static void (*its_free)(void *);
static size_t (*its_collect)(void);
static pthread_barrier_t closed, used;
static void *left_over[THREADS];

static void *run(void *argument)
{
    size_t index = (size_t)argument;
    char *blocks[500];
    for (size_t i = 0; i < 500; i++) {
        blocks[i] = its_malloc(i * 50);
        fill(blocks[i], i * 50, i);
    }
    for (size_t i = 0; i < 500; i++) {
        CHECK(intact(blocks[i], i * 50, i) == i * 50, "block %zu", i);
        blocks[i] = its_realloc(blocks[i], i * 60 + 1);
        its_free(blocks[i]);
    }
    its_free(left_over[index]);
    left_over[index] = its_malloc(1000 * index + 1);
    pthread_barrier_wait(&used);
    pthread_barrier_wait(&closed);
    /* The library is closed; its cache of this thread is emptied when the thread ends. */
    return NULL;
}

int main(int argc, char **argv)
{
    REQUIRE(argc == 2, "no library named");
    REQUIRE(!hz3_collect, "hz3 is preloaded");
    pthread_barrier_init(&used, NULL, THREADS + 1);
    pthread_barrier_init(&closed, NULL, THREADS + 1);
    void *first = NULL;
    for (int round = 0; round < ROUNDS; round++) {
        void *library = dlopen(argv[1], round % 2 ? RTLD_LAZY | RTLD_LOCAL : RTLD_NOW | RTLD_LOCAL);
        REQUIRE(library, "%s", dlerror());
        its_malloc = (void *(*)(size_t))dlsym(library, "malloc");
        its_realloc = (void *(*)(void *, size_t))dlsym(library, "realloc");
        its_free = (void (*)(void *))dlsym(library, "free");
        its_collect = (size_t(*)(void))dlsym(library, "hz3_collect");
        REQUIRE(its_malloc && its_realloc && its_free && its_collect, "%s", dlerror());
        REQUIRE((void *)its_malloc != (void *)malloc, "round %d: this is not hz3", round);
        REQUIRE(!first || first == (void *)its_malloc, "round %d: loaded a second time", round);
        first = (void *)its_malloc;
        pthread_t threads[THREADS];
        for (size_t i = 0; i < THREADS; i++) {
            pthread_create(&threads[i], NULL, run, (void *)i);
        }
        pthread_barrier_wait(&used);
        its_collect();
        /* A block of the program's allocator, freed through the library. */
        its_free(malloc(100));
        CHECK(dlclose(library) == 0, "%s", dlerror());
        pthread_barrier_wait(&closed);
        for (int i = 0; i < THREADS; i++) {
            pthread_join(threads[i], NULL);
        }
    }
    return finish();
}
