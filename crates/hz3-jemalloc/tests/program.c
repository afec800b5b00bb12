/* A program for jemalloc: it finds the functions by name, as RocksDB and MariaDB do. Prints "ok", or
 * the line of the first check that failed. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#define CHECK(what)                                                       \
    do {                                                                  \
        if (!(what)) {                                                    \
            printf("line %d: %s\n", __LINE__, #what);                     \
            exit(1);                                                      \
        }                                                                 \
    } while (0)

extern int mallctl(const char *, void *, size_t *, void *, size_t) __attribute__((weak));
extern int mallctlnametomib(const char *, size_t *, size_t *) __attribute__((weak));
extern int mallctlbymib(const size_t *, size_t, void *, size_t *, void *, size_t)
    __attribute__((weak));
extern void malloc_stats_print(void (*)(void *, const char *), void *, const char *)
    __attribute__((weak));
extern void *mallocx(size_t, int) __attribute__((weak));
extern void *rallocx(void *, size_t, int) __attribute__((weak));
extern size_t xallocx(void *, size_t, size_t, int) __attribute__((weak));
extern size_t sallocx(const void *, int) __attribute__((weak));
extern void dallocx(void *, int) __attribute__((weak));
extern void sdallocx(void *, size_t, int) __attribute__((weak));
extern size_t nallocx(size_t, int) __attribute__((weak));

enum { ZERO = 0x40, BLOCK = 3 << 20, ALL_ARENAS = 4096 };

static size_t size_of(const char *name)
{
    size_t value = 0, bytes = sizeof value;
    CHECK(mallctl(name, &value, &bytes, NULL, 0) == 0 && bytes == sizeof value);
    return value;
}

static void collect(void *out, const char *text) { strcat(out, text); }

static void names(void)
{
    uint64_t epoch = 1, before = 0;
    size_t bytes = sizeof epoch;
    CHECK(mallctl("epoch", &before, &bytes, NULL, 0) == 0);
    CHECK(mallctl("epoch", &epoch, &bytes, &epoch, sizeof epoch) == 0 && epoch == before + 1);

    const char *version = NULL;
    bytes = sizeof version;
    CHECK(mallctl("version", &version, &bytes, NULL, 0) == 0 && strstr(version, "hz3"));

    size_t allocated = size_of("stats.allocated");
    char *block = malloc(BLOCK);
    memset(block, 1, BLOCK);
    CHECK(size_of("stats.allocated") >= allocated + BLOCK);
    CHECK(size_of("stats.active") >= allocated + BLOCK);
    CHECK(size_of("stats.mapped") >= size_of("stats.active"));
    CHECK(size_of("stats.resident") >= BLOCK && size_of("stats.metadata") > 0);
    CHECK(size_of("arenas.quantum") == 16 && size_of("arenas.page") >= 4096);
    free(block);

    bool flag = false;
    bytes = sizeof flag;
    CHECK(mallctl("background_thread", &flag, &bytes, NULL, 0) == 0 && flag);
    CHECK(mallctl("background_thread", NULL, NULL, &flag, sizeof flag) == 0);
    flag = false;
    CHECK(mallctl("background_thread", NULL, NULL, &flag, sizeof flag) == EPERM);
    unsigned number = 7;
    bytes = sizeof number;
    CHECK(mallctl("arenas.narenas", &number, &bytes, NULL, 0) == 0 && number == 1);
    CHECK(mallctl("thread.arena", &number, &bytes, NULL, 0) == 0 && number == 0);
    ssize_t decay = 0;
    bytes = sizeof decay;
    CHECK(mallctl("arenas.dirty_decay_ms", &decay, &bytes, NULL, 0) == 0 && decay == 1000);
    CHECK(mallctl("arenas.dirty_decay_ms", NULL, NULL, &decay, sizeof decay) == EPERM);

    CHECK(mallctl("no.such.name", NULL, NULL, NULL, 0) == ENOENT);
    CHECK(mallctl("thread.allocatedp", NULL, NULL, NULL, 0) == ENOENT);
    CHECK(mallctl("opt.prof", NULL, NULL, NULL, 0) == ENOENT);
    bytes = 3;
    CHECK(mallctl("stats.allocated", &allocated, &bytes, NULL, 0) == EINVAL);
    CHECK(mallctl("epoch", NULL, NULL, &number, sizeof number) == EINVAL);
}

static void actions(void)
{
    /* hz3 keeps a block of this size for a while. */
    void *block = malloc(2 << 20);
    memset(block, 1, 2 << 20);
    free(block);
    size_t mapped = size_of("stats.mapped");
    CHECK(mallctl("arena.4096.purge", NULL, NULL, NULL, 0) == 0);
    CHECK(size_of("stats.mapped") + (1 << 20) <= mapped);
    CHECK(mallctl("arena.0.decay", NULL, NULL, NULL, 0) == 0);
    CHECK(mallctl("thread.tcache.flush", NULL, NULL, NULL, 0) == 0);
    CHECK(mallctl("arena.0.purge", NULL, NULL, &mapped, sizeof mapped) == EPERM);

    block = malloc(BLOCK);
    size_t mib[4], length = 4, value = 0, bytes = sizeof value;
    CHECK(mallctlnametomib("stats.allocated", mib, &length) == 0 && length == 2);
    CHECK(mallctlbymib(mib, length, &value, &bytes, NULL, 0) == 0 && value >= BLOCK);
    free(block);
    CHECK(mallctlbymib(mib, 1, &value, &bytes, NULL, 0) == ENOENT);
    length = 4;
    CHECK(mallctlnametomib("arena.0.purge", mib, &length) == 0 && length == 3);
    mib[1] = ALL_ARENAS;
    CHECK(mallctlbymib(mib, length, NULL, NULL, NULL, 0) == 0);
    mib[1] = 5;
    CHECK(mallctlbymib(mib, length, NULL, NULL, NULL, 0) == ENOENT);
    CHECK(mallctlnametomib("no.such", mib, &length) == ENOENT);
}

static void blocks(void)
{
    char *block = mallocx(100, ZERO | 12 /* 4 KiB */);
    CHECK(block && (uintptr_t)block % 4096 == 0 && sallocx(block, 0) >= 100);
    for (int i = 0; i < 100; i++)
        CHECK(block[i] == 0);
    memset(block, 7, 100);
    block = rallocx(block, 9000, ZERO | 13);
    CHECK(block && (uintptr_t)block % 8192 == 0 && block[99] == 7 && block[8999] == 0);
    CHECK(xallocx(block, 1 << 20, 0, 0) == sallocx(block, 0));
    sdallocx(block, 9000, 13);
    block = mallocx(40, 0);
    block = rallocx(block, 4000, 0);
    size_t bytes = sallocx(block, 0);
    CHECK(bytes == nallocx(4000, 0) && bytes >= 4000);
    dallocx(block, 0);
    CHECK(mallocx(SIZE_MAX, 0) == NULL && nallocx(SIZE_MAX, 0) == 0);
}

/* With ZERO all that sallocx tells is zero, so an array that grows by rallocx stays zero at its end. */
static void zeroes(void)
{
    for (int flags = 0; flags <= 12; flags += 12) {
        for (size_t size = 17; size < 200000; size = size * 5 / 4 + 16) {
            char *old = mallocx(size, flags);
            CHECK(old);
            memset(old, 7, sallocx(old, 0));
            dallocx(old, 0);
            char *block = mallocx(size, ZERO | flags);
            size_t room = sallocx(block, 0);
            for (size_t i = 0; i < room; i++)
                CHECK(block[i] == 0);
            memset(block, 7, room);
            block = rallocx(block, room + 1, ZERO | flags);
            for (size_t i = 0; i < sallocx(block, 0); i++)
                CHECK(block[i] == (i < room ? 7 : 0));
            dallocx(block, 0);
        }
    }
}

int main(int count, char **arguments)
{
    (void)arguments;
    if (count > 1) {
        /* Without the library the program takes its malloc for a plain one. */
        puts(mallctl || mallocx || malloc_stats_print ? "jemalloc" : "plain");
        return 0;
    }
    CHECK(mallctl && mallctlnametomib && mallctlbymib && malloc_stats_print && mallocx);
    names();
    actions();
    blocks();
    zeroes();
    static char text[8192];
    malloc_stats_print(collect, text, "J");
    CHECK(strncmp(text, "{\"jemalloc\":{\"version\":\"hz3-", 28) == 0);
    CHECK(strstr(text, "\"allocated\":") && strstr(text, "\"retained\":"));
    text[0] = 0;
    malloc_stats_print(collect, text, NULL);
    CHECK(strstr(text, "hz3 statistics") && strstr(text, "allocated: "));
    puts("ok");
    return 0;
}
