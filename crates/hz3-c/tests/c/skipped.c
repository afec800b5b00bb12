/* A huge block in pages that the arena skips: the kernel placed its mapping in the arena's window
 * before the arena grew that far. A wrapper of mmap chooses the place. */
#define _GNU_SOURCE
#include "check.h"
#include <malloc.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)

extern int hz3_profile_start(unsigned) __attribute__((weak));

static uintptr_t next_place;

void *mmap(void *wanted, size_t bytes, int protection, int flags, int file, off_t offset)
{
    if (!wanted && next_place && bytes >= 33 * MIB) {
        wanted = (void *)next_place;
        next_place = 0;
    }
    return (void *)syscall(SYS_mmap, wanted, bytes, (long)protection, (long)flags, (long)file,
                           offset);
}

int main(int count_of_arguments, char **arguments)
{
    static char *volatile runs[8];
    require_hz3();
    char *volatile run = malloc(MIB);
    uintptr_t place = ((uintptr_t)run + 64 * MIB) & ~(4 * MIB - 1);
    next_place = place;
    char *volatile block = malloc(40 * MIB);
    REQUIRE(block && (uintptr_t)block - place < 4 * MIB, "%p is not at %#zx", (void *)block,
            (size_t)place);
    memset(block, 7, MIB);
    for (size_t i = 0; i < 8; i++) {
        runs[i] = malloc(30 * MIB);
        REQUIRE(runs[i], "no memory");
    }
    REQUIRE((uintptr_t)runs[7] > (uintptr_t)block, "the arena has not grown past the block");
    CHECK(malloc_usable_size(block) >= 40 * MIB, "%zu", malloc_usable_size(block));
    if (count_of_arguments > 1) {
        /* A resized block is a sample of the profile. */
        REQUIRE(hz3_profile_start(1) == 0, "no profile");
        block = realloc(block, 36 * MIB);
        REQUIRE((uintptr_t)block - place < 4 * MIB, "the block has moved to %p", (void *)block);
        block = realloc(block, 35 * MIB);
    }
    CHECK(block[MIB - 1] == 7, "the contents are lost");
    if (count_of_arguments > 1 && strcmp(arguments[1], "move") == 0) {
        block = realloc(block, 100);
        CHECK(block[99] == 7, "the contents are lost");
    }
    free(block);
    free(run);
    return finish();
}
