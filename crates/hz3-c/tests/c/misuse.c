/* Misuses the heap in the way that the argument names. hz3 must end the process, except for the two
 * kinds that no allocator can detect at once. The program prints the address, and exits with 0 if
 * it was not stopped. With ANY_ALLOCATOR it runs on other allocators too, for docs/misuse.md. */
#include "check.h"
#include <dlfcn.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

static char global[64];

static void *tell(void *pointer)
{
    printf("%p\n", pointer);
    fflush(stdout);
    return pointer;
}

/* Lets the allocator check all free blocks. */
static void collect(void)
{
    if (hz3_collect) {
        hz3_collect();
    } else {
        malloc_trim(0);
    }
}

static char *mapping(void)
{
    return mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void *on_thread_stack(void *unused)
{
    char local[64] __attribute__((aligned(16)));
    free(tell(local));
    return unused;
}

static pthread_barrier_t shown;
static void *other_stack;

/* Shows an address of its stack, and waits for ever. */
static void *show_stack(void *unused)
{
    char local[512] __attribute__((aligned(16)));
    memset(local, 5, sizeof local);
    other_stack = local + 64;
    pthread_barrier_wait(&shown);
    pause();
    return unused;
}

/* A handler of SIGABRT that ends the process in its own way. */
static void leave(int signal)
{
    (void)signal;
    _exit(7);
}

/* A handler of SIGABRT that returns. */
static void stay(int signal)
{
    (void)signal;
}

static void *work(void *unused)
{
    for (int turn = 0; turn < 2000; turn++) {
        void *blocks[64];
        for (int i = 0; i < 64; i++) {
            blocks[i] = malloc(200);
        }
        for (int i = 0; i < 64; i++) {
            free(blocks[i]);
        }
    }
    return unused;
}

/* A handler of SIGABRT that waits for a thread, which takes every lock of the block's class. */
static void leave_after_a_thread(int signal)
{
    pthread_t thread;
    (void)signal;
    pthread_create(&thread, NULL, work, NULL);
    pthread_join(thread, NULL);
    _exit(7);
}

/* Leaves the blocks in the cache to the reclaimer, and makes enough work to start it. */
static void wait_for_the_reclaimer(void)
{
    char *blocks[40];
    for (int i = 0; i < 40; i++) {
        blocks[i] = memset(malloc(1 << 20), 1, 1 << 20);
    }
    for (int i = 0; i < 40; i++) {
        free(blocks[i]);
    }
    for (int i = 0; i < 600; i++) {
        usleep(100000);
    }
}

static void abuse(const char *how)
{
    char local[64] __attribute__((aligned(16)));
    char *block = malloc(200), *other = malloc(200), *large = malloc(100000),
        *huge = malloc(300 << 20);
    if (!strcmp(how, "interior")) {
        free(tell(block + 64));
    } else if (!strcmp(how, "misaligned")) {
        free(tell(block + 1));
    } else if (!strcmp(how, "large-interior")) {
        free(tell(large + 4096));
    } else if (!strcmp(how, "huge-interior")) {
        free(tell(huge + (64 << 20)));
    } else if (!strcmp(how, "double")) {
        free(tell(block));
        free(block);
    } else if (!strcmp(how, "double-behind-another")) {
        free(tell(block));
        free(other);
        free(block);
    } else if (!strcmp(how, "double-reused")) {
        /* Another owner gets the block in between. */
        free(tell(block));
        other = malloc(200);
        free(block);
        free(other);
    } else if (!strcmp(how, "never-handed-out")) {
        /* In the same slab, far behind the blocks that any cache has taken. */
        free(tell(block + 200 * 208));
    } else if (!strcmp(how, "size-0")) {
        *(char *)tell(malloc(0)) = 1;
    } else if (!strcmp(how, "interior-aligned")) {
        free(tell(block + 16));
    } else if (!strcmp(how, "interior-of-long")) {
        char *page = malloc(20000);
        free(tell(page + 16));
    } else if (!strcmp(how, "double-later")) {
        free(tell(block));
        free(other);
        for (int i = 0; i < 100; i++) {
            free(malloc(10 + i));
        }
        free(block);
    } else if (!strcmp(how, "double-collected")) {
        free(tell(block));
        collect();
        free(block);
    } else if (!strcmp(how, "double-flushed")) {
        /* The block is deep in the cache when it is freed again, so only the flush detects it. */
        char *blocks[400];
        signal(SIGABRT, leave_after_a_thread);
        for (int i = 0; i < 400; i++) {
            blocks[i] = malloc(200);
        }
        for (int i = 0; i < 300; i++) {
            free(blocks[i]);
        }
        free(blocks[100]);
    } else if (!strncmp(how, "double-stolen", 13)) {
        signal(SIGABRT, strstr(how, "leave") ? leave : strstr(how, "stay") ? stay : SIG_DFL);
        free(tell(block));
        free(block);
        wait_for_the_reclaimer();
    } else if (!strcmp(how, "large-double")) {
        free(tell(large));
        free(large);
    } else if (!strcmp(how, "huge-double")) {
        free(tell(huge));
        free(huge);
    } else if (!strcmp(how, "huge-realloc")) {
        free(tell(huge));
        huge = realloc(huge, 400 << 20);
    } else if (!strcmp(how, "large-realloc")) {
        free(tell(large));
        large = realloc(large, 200000);
    } else if (!strcmp(how, "usable-size")) {
        free(tell(huge));
        printf("%zu\n", malloc_usable_size(huge));
    } else if (!strcmp(how, "wrong-size") || !strcmp(how, "wrong-large-size")) {
        void *(*new)(size_t) = (void *(*)(size_t))dlsym(RTLD_DEFAULT, "_Znwm");
        void (*delete)(void *, size_t) = (void (*)(void *, size_t))dlsym(RTLD_DEFAULT, "_ZdlPvm");
        delete(new(72), 65); /* of the same class */
        delete(new(0), 0);
        delete(NULL, 5);
        delete(tell(new(72)), how[6] == 's' ? 8 : 100000);
    } else if (!strncmp(how, "free-sized", 10)) {
        void *symbol = dlsym(RTLD_DEFAULT, "free_sized");
        void (*free_sized)(void *, size_t) = (void (*)(void *, size_t))symbol;
        for (size_t size = 0; size < 40000; size += size < 300 ? 1 : 61) {
            free_sized(malloc(size), size);
            free_sized(calloc(size, 1), size);
            /* Some of these stay in place. */
            for (size_t more = size + 1; size && more < 2 * size + 40; more += 1 + size / 4) {
                free_sized(realloc(malloc(more), size), size);
                free_sized(realloc(malloc(size), more), more);
            }
        }
        free_sized(NULL, 5);
        free_sized(tell(malloc(72)), strlen(how) > 10 ? 81 : 8);
    } else if (!strcmp(how, "stack")) {
        free(tell(local));
    } else if (!strcmp(how, "thread-stack")) {
        pthread_t thread;
        pthread_create(&thread, NULL, on_thread_stack, NULL);
        pthread_join(thread, NULL);
    } else if (!strcmp(how, "global")) {
        free(tell(global));
    } else if (!strcmp(how, "misaligned-foreign")) {
        free(tell(mapping() + 12));
    } else if (!strcmp(how, "mapped")) {
        free(tell(mapping() + 16));
    } else if (!strcmp(how, "mapping")) {
        free(tell(mapping()));
    } else if (!strcmp(how, "realloc-mapping")) {
        block = realloc(tell(memset(mapping(), 4, 4096)), 100);
    } else if (!strcmp(how, "other-stack")) {
        pthread_t thread;
        pthread_barrier_init(&shown, NULL, 2);
        pthread_create(&thread, NULL, show_stack, NULL);
        pthread_barrier_wait(&shown);
        free(tell(other_stack));
    } else if (!strcmp(how, "overflow")) {
        memset(tell(block), 1, 300);
        free(block);
        free(other);
    } else if (!strcmp(how, "write-after-free")) {
        free(tell(block));
        memset(block, 1, 64);
        free(malloc(200));
    } else if (!strcmp(how, "realloc-stack")) {
        block = realloc(tell(local), 500);
    } else {
        printf("unknown: %s\n", how);
    }
    /* A block that the fast path accepted is checked when it reaches the bitmap: at the latest
     * here. */
    collect();
}

int main(int argc, char **argv)
{
#ifndef ANY_ALLOCATOR
    require_hz3();
#endif
    REQUIRE(argc == 2, "no abuse named");
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    abuse(argv[1]);
    return 0;
}
