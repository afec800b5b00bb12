/* Does every function of the family treat size 0, overflow, NULL and errno as glibc 2.36 does? */
#define _GNU_SOURCE
#include "check.h"
#include <errno.h>
#include <malloc.h>

/* Weak, because current C libraries do not have these. */
void cfree(void *) __attribute__((weak));
void free_sized(void *, size_t) __attribute__((weak));
void free_aligned_sized(void *, size_t, size_t) __attribute__((weak));
void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);
void *__libc_valloc(size_t);
void *__libc_pvalloc(size_t);
void __libc_free(void *);

/* A value that no call sets. */
#define MARK 4242

static const size_t huge[] = {(size_t)PTRDIFF_MAX + 1, SIZE_MAX - 4096, SIZE_MAX - 1, SIZE_MAX};
#define HUGE_COUNT (sizeof huge / sizeof *huge)

/* Checks that the call returned NULL and set errno to `wanted`. */
#define FAILS(call, wanted)                                                                        \
    do {                                                                                           \
        errno = MARK;                                                                              \
        void *got = (call);                                                                        \
        CHECK(got == NULL && errno == (wanted), "got %p, errno %d", got, errno);                   \
    } while (0)

static void zero_sizes(void)
{
    void *first = malloc(0), *second = malloc(0), *third = calloc(0, 7), *fourth = calloc(7, 0);
    CHECK(first && second && third && fourth, "%p %p %p %p", first, second, third, fourth);
    CHECK(first != second && third != fourth && second != third, "blocks of size 0 are shared");
    free(first);
    free(second);
    free(third);
    free(fourth);
    void *made[] = {realloc(NULL, 0),     reallocarray(NULL, 0, 5), memalign(64, 0),
                    aligned_alloc(64, 0), valloc(0),                pvalloc(0)};
    for (size_t i = 0; i < sizeof made / sizeof *made; i++) {
        CHECK(made[i] != NULL, "call %zu returns NULL for size 0", i);
        free(made[i]);
    }
    void *block = malloc(100);
    errno = MARK;
    CHECK(realloc(block, 0) == NULL && errno == MARK, "realloc(p, 0) sets errno %d", errno);
    block = malloc(100);
    CHECK(reallocarray(block, 0, 9) == NULL && errno == MARK, "reallocarray(p, 0, 9)");
}

static void impossible_sizes(void)
{
    char *kept = malloc(50);
    void *out = kept;
    fill(kept, 50, 1);
    for (size_t i = 0; i < HUGE_COUNT; i++) {
        FAILS(malloc(huge[i]), ENOMEM);
        FAILS(calloc(huge[i], 1), ENOMEM);
        FAILS(calloc(1, huge[i]), ENOMEM);
        FAILS(realloc(NULL, huge[i]), ENOMEM);
        FAILS(realloc(kept, huge[i]), ENOMEM);
        FAILS(reallocarray(kept, huge[i], 1), ENOMEM);
        FAILS(memalign(64, huge[i]), ENOMEM);
        FAILS(memalign(1, huge[i]), ENOMEM);
        FAILS(aligned_alloc(4096, huge[i]), ENOMEM);
        FAILS(valloc(huge[i]), ENOMEM);
        FAILS(pvalloc(huge[i]), ENOMEM);
        errno = MARK;
        CHECK(posix_memalign(&out, 64, huge[i]) == ENOMEM, "size %zx", huge[i]);
        CHECK(out == kept && errno == ENOMEM, "posix_memalign: out %p, errno %d", out, errno);
    }
    /* Not above PTRDIFF_MAX, but more than any machine has. */
    FAILS(malloc(PTRDIFF_MAX), ENOMEM);
    FAILS(memalign((size_t)1 << 62, 1), ENOMEM);
    FAILS(memalign((size_t)1 << 63, 1), ENOMEM);
    FAILS(memalign(1 << 20, PTRDIFF_MAX - 100), ENOMEM);
    CHECK(intact(kept, 50, 1) == 50, "a failed realloc damaged its block");
    free(kept);
}

static void overflow(void)
{
    char *kept = malloc(50);
    size_t half = (size_t)1 << 32;
    FAILS(calloc(half, half), ENOMEM);
    FAILS(calloc(SIZE_MAX, 2), ENOMEM);
    FAILS(calloc(half + 1, half - 1), ENOMEM);
    FAILS(reallocarray(kept, half, half), ENOMEM);
    FAILS(reallocarray(NULL, SIZE_MAX / 2, 3), ENOMEM);
    /* 2^64 + 16: the product wraps around to a small number. */
    FAILS(calloc(SIZE_MAX / 16 + 2, 16), ENOMEM);
    free(kept);
}

static void odd_alignments(void)
{
    static const size_t odd[] = {0, 1, 2, 3, 5, 7, 9, 24, 48, 100, 4097, 65535};
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        size_t power = 1;
        while (power < odd[i]) {
            power *= 2;
        }
        void *one = memalign(odd[i], 100);
        CHECK(one && (uintptr_t)one % power == 0, "memalign(%zu) gave %p", odd[i], one);
        free(one);
        if (odd[i] != power) {
            FAILS(aligned_alloc(odd[i], 100), EINVAL);
        }
    }
    FAILS(memalign(((size_t)1 << 63) + 1, 1), EINVAL);
    FAILS(aligned_alloc(SIZE_MAX, 1), EINVAL);
    FAILS(aligned_alloc(48, SIZE_MAX), EINVAL);
    /* C23: the size need be no multiple of the alignment. */
    void *any = aligned_alloc(64, 65);
    CHECK(any && (uintptr_t)any % 64 == 0, "aligned_alloc(64, 65) gave %p", any);
    free(any);
    static const size_t invalid[] = {0, 1, 2, 4, 12, 24, 40, 4097, SIZE_MAX};
    for (size_t i = 0; i < sizeof invalid / sizeof *invalid; i++) {
        void *out = &out;
        errno = MARK;
        int error = posix_memalign(&out, invalid[i], 100);
        CHECK(error == EINVAL && out == &out && errno == MARK,
              "posix_memalign(%zu): %d, out %p, errno %d", invalid[i], error, out, errno);
    }
}

static void errno_is_kept(void)
{
    static const size_t sizes[] = {1, 100, 5000, 40000, 300000, 5000000, 80000000};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        errno = MARK;
        void *block = malloc(sizes[i]);
        CHECK(block && errno == MARK, "malloc(%zu) sets errno %d", sizes[i], errno);
        block = realloc(block, sizes[i] * 3);
        CHECK(block && errno == MARK, "realloc(%zu) sets errno %d", sizes[i] * 3, errno);
        free(block);
        CHECK(errno == MARK, "free of %zu sets errno %d", sizes[i] * 3, errno);
    }
    free(NULL);
    cfree(NULL);
    malloc_trim(0);
    hz3_collect();
    CHECK(malloc_usable_size(NULL) == 0 && errno == MARK, "errno %d", errno);
}

static void every_name(void)
{
    void *out = NULL;
    void *made[] = {malloc(100),           calloc(10, 10),          realloc(NULL, 100),
                    reallocarray(NULL, 10, 10), memalign(32, 100),  aligned_alloc(32, 100),
                    valloc(100),           pvalloc(100),            __libc_malloc(100),
                    __libc_calloc(10, 10), __libc_realloc(NULL, 100), __libc_memalign(32, 100),
                    __libc_valloc(100),    __libc_pvalloc(100),
                    posix_memalign(&out, 32, 100) ? NULL : out};
    size_t count = sizeof made / sizeof *made;
    for (size_t i = 0; i < count; i++) {
        CHECK(made[i] && malloc_usable_size(made[i]) >= 100, "call %zu gave %p", i, made[i]);
        CHECK((uintptr_t)made[i] % 16 == 0, "call %zu gave %p", i, made[i]);
        fill(made[i], 100, i);
    }
    CHECK(malloc_usable_size(made[7]) >= 4096, "pvalloc gives whole pages");
    for (size_t i = 0; i < count; i++) {
        CHECK(intact(made[i], 100, i) == 100, "block %zu was overwritten", i);
    }
    free(made[0]);
    cfree(made[1]);
    __libc_free(made[2]);
    free_sized(made[3], 100);
    free_sized(made[4], 100);
    free_aligned_sized(made[5], 32, 100);
    free_aligned_sized(made[6], 1, 1);
    for (size_t i = 7; i < count; i++) {
        free(made[i]);
    }
}

int main(void)
{
    require_hz3();
    zero_sizes();
    impossible_sizes();
    overflow();
    odd_alignments();
    errno_is_kept();
    every_name();
    return finish();
}
