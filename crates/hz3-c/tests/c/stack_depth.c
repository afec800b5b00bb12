/* How much of the call stack does each call of the malloc family take? A signal handler often has
 * 8 KiB for itself and the kernel's frame.
 *
 *     stack_depth LIMIT [SIGNAL]
 *
 * Each call runs on a stack of its own that is filled with a pattern. Before each, the signal asks
 * for a dump of the heap profile. */
#include "check.h"
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <ucontext.h>

enum { STACK = 256 << 10, BLOCKS = 40000 };

static _Alignas(4096) unsigned char stack[STACK];
static ucontext_t caller, callee;
static void (*called)(size_t);
static size_t argument, limit;
static int dump_signal;
static void *blocks[BLOCKS];

static void enter(void)
{
    called(argument);
}

static size_t used(void)
{
    size_t untouched = 0;
    while (untouched < sizeof stack && stack[untouched] == 0xa5) {
        untouched++;
    }
    return sizeof stack - untouched;
}

static void measure(const char *name, void (*call)(size_t), size_t size)
{
    memset(stack, 0xa5, sizeof stack);
    getcontext(&callee);
    callee.uc_stack.ss_sp = stack;
    callee.uc_stack.ss_size = sizeof stack;
    callee.uc_link = &caller;
    called = call;
    argument = size;
    makecontext(&callee, enter, 0);
    if (dump_signal) {
        raise(dump_signal);
    }
    REQUIRE(swapcontext(&caller, &callee) == 0, "no context");
    CHECK(used() <= limit, "%s of %zu bytes takes %zu bytes of stack", name, size, used());
}

/* Twice as many bytes as are cached, at most all blocks. */
static size_t count_of(size_t size)
{
    return size > 1 << 20 ? 4 : size > 4096 ? 400 : BLOCKS;
}

static void allocate(size_t size)
{
    for (size_t i = 0; i < count_of(size); i++) {
        blocks[i] = malloc(size);
        memset(blocks[i], 1, size < 4096 ? size : 4096);
    }
}

static void release(size_t size)
{
    for (size_t i = 0; i < count_of(size); i++) {
        free(blocks[i]);
    }
}

static void once(size_t size)
{
    free(malloc(size));
}

static void cleared(size_t size)
{
    free(calloc(1, size));
}

static void aligned(size_t size)
{
    free(aligned_alloc(256, size));
    free(aligned_alloc(1 << 16, size));
}

static void resized(size_t size)
{
    void *block = realloc(NULL, size);
    block = realloc(block, size * 2);
    block = realloc(block, size / 2);
    free(block);
}

static void trim(size_t size)
{
    malloc_trim(size);
}

static void *each(void *unused)
{
    static const size_t sizes[] = {16, 1000, 3000, 20000, 100000, 3 << 20, 40 << 20};
    /* First, because it may be the thread's first call. */
    measure("the first malloc and free", once, 64);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        measure("malloc", allocate, sizes[i]);
        measure("free", release, sizes[i]);
        measure("calloc", cleared, sizes[i]);
        measure("aligned_alloc", aligned, sizes[i]);
        measure("realloc", resized, sizes[i]);
    }
    measure("malloc_trim", trim, 0);
    return unused;
}

int main(int count, char **arguments)
{
    REQUIRE(count >= 2, "give the limit in bytes");
    dump_signal = count > 2 ? atoi(arguments[2]) : 0;
    limit = strtoul(arguments[1], NULL, 10);
    require_hz3();
    each(NULL);
    /* In new threads: beside a thread that has a cache, and in a process with a reclaimer. */
    for (int i = 0; i < 3; i++) {
        pthread_t thread;
        REQUIRE(pthread_create(&thread, NULL, each, NULL) == 0, "no thread");
        pthread_join(thread, NULL);
    }
    return finish();
}
