/* Used by every test program: checks that print a failure, and one verdict at the end. */
#ifndef CHECK_H
#define CHECK_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif
extern size_t hz3_collect(void) __attribute__((weak));
extern size_t hz3_stats_json(char *, size_t) __attribute__((weak));
#ifdef __cplusplus
}
#endif

static int check_failures;

/* Prints a failure and continues; after twenty failures only counts them. */
#define CHECK(condition, ...)                                                                      \
    do {                                                                                           \
        if (!(condition) && __atomic_fetch_add(&check_failures, 1, __ATOMIC_RELAXED) < 20) {       \
            fprintf(stderr, "%s:%d: %s: ", __FILE__, __LINE__, #condition);                        \
            fprintf(stderr, __VA_ARGS__);                                                          \
            fputc('\n', stderr);                                                                   \
        }                                                                                          \
    } while (0)

/* Prints a failure after which the test cannot continue, and exits. */
#define REQUIRE(condition, ...)                                                                    \
    do {                                                                                           \
        CHECK(condition, __VA_ARGS__);                                                             \
        if (check_failures) {                                                                      \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

/* Returns one value of statistics in JSON; -1 if there is no such key. */
__attribute__((unused)) static long long value_in(const char *json, const char *key)
{
    char quoted[64];
    const char *found;
    snprintf(quoted, sizeof quoted, "\"%s\":", key);
    found = strstr(json, quoted);
    return found ? atoll(found + strlen(quoted)) : -1;
}

/* Returns one current value of hz3's statistics. */
__attribute__((unused)) static long long statistic(const char *key)
{
    char json[4096];
    size_t length = hz3_stats_json(json, sizeof json);
    return length < sizeof json ? value_in(json, key) : -1;
}

/* Fails if the program runs on another allocator, where the test would prove nothing. */
__attribute__((unused)) static void require_hz3(void)
{
    long long before, after;
    void *block;
    REQUIRE(hz3_collect && hz3_stats_json, "hz3 is not loaded");
    before = statistic("allocated");
    block = malloc(3 << 20);
    after = statistic("allocated");
    free(block);
    REQUIRE(after - before >= 3 << 20, "malloc is not hz3's: %lld before, %lld after", before,
            after);
}

/* Byte `index` of the pattern number `seed`. */
__attribute__((unused)) static unsigned char pattern(size_t seed, size_t index)
{
    return (unsigned char)(seed * 131 + index * 7 + (index >> 8));
}

__attribute__((unused)) static void fill(void *block, size_t size, size_t seed)
{
    unsigned char *bytes = (unsigned char *)block;
    for (size_t i = 0; i < size; i++) {
        bytes[i] = pattern(seed, i);
    }
}

/* The first byte that differs from the pattern; `size` when none does. */
__attribute__((unused)) static size_t intact(const void *block, size_t size, size_t seed)
{
    const unsigned char *bytes = (const unsigned char *)block;
    for (size_t i = 0; i < size; i++) {
        if (bytes[i] != pattern(seed, i)) {
            return i;
        }
    }
    return size;
}

/* The verdict: "ok" and 0, or 1. */
__attribute__((unused)) static int finish(void)
{
    if (check_failures) {
        fprintf(stderr, "%d checks failed\n", check_failures);
        return 1;
    }
    puts("ok");
    return 0;
}

#endif
