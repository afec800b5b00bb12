/* Is zeroed memory zero on a system where MADV_DONTNEED returns 0 and does nothing, as on some
 * emulators, or fails with the error that the argument names, as on locked pages? A seccomp filter
 * simulates that system. */
#define _GNU_SOURCE
#include "check.h"
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#define BLOCKS 600

static void ignore_purges(unsigned error)
{
    struct sock_filter lines[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_madvise, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, MADV_DONTNEED, 0, 1),
        /* An error of 0 is success. */
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = {sizeof lines / sizeof *lines, lines};
    REQUIRE(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "no new privileges");
    REQUIRE(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0, "no filter");
}

/* Returns the index of the first byte that is not zero, `size` if there is none. */
static size_t leading_zeroes(const char *block, size_t size)
{
    size_t zeroes = 0;
    while (zeroes < size && !block[zeroes]) {
        zeroes++;
    }
    return zeroes;
}

/* The first purge of the process is one of a range that begins with pages never written. */
static void purge_clean_pages_first(void)
{
    static char *live[8], *found[8];
    for (size_t i = 0; i < 8; i++) {
        live[i] = malloc(16 << 20);
    }
    char *aligned = memalign(8 << 20, 6 << 20);
    REQUIRE(live[7] && aligned, "no memory");
    aligned[5] = 1;
    free(aligned);
    for (size_t i = 0; i < 8; i++) {
        size_t size = (6 + i) << 20;
        found[i] = calloc(1, size);
        REQUIRE(found[i], "no memory");
        size_t zeroes = leading_zeroes(found[i], size);
        CHECK(zeroes == size, "size %zu before any other purge: byte %zu", size, zeroes);
    }
    for (size_t i = 0; i < 8; i++) {
        free(live[i]);
        free(found[i]);
    }
}

int main(int count_of_arguments, char **arguments)
{
    static const size_t sizes[] = {3000, 20000, 100000, 3 << 20};
    require_hz3();
    ignore_purges(count_of_arguments > 1 ? (unsigned)atoi(arguments[1]) : 0);
    purge_clean_pages_first();
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        size_t size = sizes[i], count = size > 1 << 20 ? 20 : BLOCKS;
        void *blocks[BLOCKS];
        for (int turn = 0; turn < 2; turn++) {
            for (size_t at = 0; at < count; at++) {
                char *block = blocks[at] = calloc(1, size);
                REQUIRE(block, "no memory");
                size_t zeroes = leading_zeroes(block, size);
                CHECK(zeroes == size, "size %zu, turn %d, block %zu: byte %zu", size, turn, at,
                      zeroes);
                memset(block, 7, size);
            }
            for (size_t at = 0; at < count; at++) {
                free(blocks[at]);
            }
            hz3_collect();
        }
    }
    CHECK(statistic("madvise_refused") > 0, "nothing was purged");
    CHECK(statistic("purged_bytes") == 0, "%lld bytes count as purged", statistic("purged_bytes"));
    return finish();
}
