/* Another allocator: allocates from a static buffer, counts calls, and never reuses memory. */
#include <stddef.h>
#include <string.h>

static _Alignas(16) char buffer[1 << 20];
static size_t used;
int other_frees;

int other_owns(const void *);
void *other_take(size_t);
void *malloc(size_t);
void free(void *);
void *realloc(void *, size_t);
void *calloc(size_t, size_t);
size_t malloc_usable_size(void *);

int other_owns(const void *block)
{
    return (const char *)block >= buffer && (const char *)block < buffer + sizeof buffer;
}

void *other_take(size_t size)
{
    size_t *block = (size_t *)(buffer + used);
    size_t whole = (size + 31) / 16 * 16;
    if (whole > sizeof buffer - used) {
        return NULL;
    }
    used += whole;
    block[0] = size;
    return block + 2;
}

void *malloc(size_t size) { return other_take(size); }

void *calloc(size_t count, size_t size) { return other_take(count * size); }

void free(void *block)
{
    if (block) {
        other_frees++;
    }
}

void *realloc(void *block, size_t size)
{
    void *moved = other_take(size);
    if (moved && block) {
        size_t held = ((size_t *)block)[-2];
        memcpy(moved, block, held < size ? held : size);
    }
    return moved;
}

size_t malloc_usable_size(void *block) { return ((size_t *)block)[-2]; }
