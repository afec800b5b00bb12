/* The C code of a Rust program: uses the malloc family, also from inside the C library. Each function
 * returns the line of the first check that fails, or 0. */
#define _GNU_SOURCE
#include <errno.h>
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition) do { if (!(condition)) return __LINE__; } while (0)

void *part_allocate(size_t size) { return malloc(size); }
void part_free(void *block) { free(block); }

/* Blocks that the C library allocates. */
char *part_library_block(int kind)
{
    char *text = NULL;
    size_t length = 0;
    if (kind == 0)
        return strdup("a copy");
    if (kind == 1)
        return asprintf(&text, "%d", 12345) == 5 ? text : NULL;
    FILE *stream = open_memstream(&text, &length);
    if (!stream)
        return NULL;
    fputs("a stream", stream);
    fclose(stream);
    return text;
}

int part_family(void)
{
    /* The compiler must not know what these return. */
    size_t volatile huge = SIZE_MAX, none = 0;
    void *block, *before = &block;
    errno = 7;
    CHECK((block = malloc(none)) && errno == 7);
    free(block);
    for (size_t size = 1; size < 100 << 20; size = size * 3 + 1) {
        unsigned char *bytes = malloc(size);
        CHECK(bytes && (uintptr_t)bytes % 16 == 0 && malloc_usable_size(bytes) >= size);
        memset(bytes, 0xA5, size);
        CHECK((bytes = realloc(bytes, size * 2)) && bytes[0] == 0xA5 && bytes[size - 1] == 0xA5);
        CHECK((bytes = realloc(bytes, size / 2 + 1)) && bytes[size / 2] == 0xA5);
        free(bytes);
        CHECK((bytes = calloc(size, 1)) && bytes[0] == 0 && bytes[size / 2] == 0 && bytes[size - 1] == 0);
        free(bytes);
        CHECK(errno == 7);
    }
    for (size_t align = 8; align <= 1 << 20; align *= 2) {
        CHECK(posix_memalign(&block, align, 100) == 0 && (uintptr_t)block % align == 0);
        free(block);
        CHECK((block = aligned_alloc(align, align)) && (uintptr_t)block % align == 0);
        free(block);
        CHECK((block = memalign(align - 1, 100)) && (uintptr_t)block % (align / 2) == 0);
        free(block);
    }
    CHECK((block = valloc(10)) && (uintptr_t)block % 4096 == 0);
    free(block);
    CHECK((block = pvalloc(10)) && malloc_usable_size(block) >= 4096);
    free(block);
    CHECK(errno == 7 && malloc_usable_size(NULL) == 0);

    CHECK(!malloc(huge) && errno == ENOMEM);
    errno = 0;
    CHECK(!calloc(huge / 2, 3) && errno == ENOMEM);
    errno = 0;
    CHECK((block = malloc(10)) && !reallocarray(block, huge / 2, 3) && errno == ENOMEM);
    errno = 0;
    CHECK(!realloc(block, huge) && errno == ENOMEM);
    errno = 0;
    CHECK(!realloc(block, none) && errno == 0);
    CHECK(!aligned_alloc(24, 100) && errno == EINVAL);
    errno = 0;
    block = before;
    CHECK(posix_memalign(&block, 24, 8) == EINVAL && posix_memalign(&block, 4, 8) == EINVAL);
    CHECK(errno == 0 && block == before);
    free(NULL);
    return 0;
}
