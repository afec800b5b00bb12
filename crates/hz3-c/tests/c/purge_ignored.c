/* Is zeroed memory zero on a system where MADV_DONTNEED returns 0 and does nothing, as on some
 * emulators? A seccomp filter simulates that system. */
#define _GNU_SOURCE
#include "check.h"
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#define BLOCKS 600

static void ignore_purges(void)
{
    struct sock_filter lines[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_madvise, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, MADV_DONTNEED, 0, 1),
        /* An error of 0 is success. */
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = {sizeof lines / sizeof *lines, lines};
    REQUIRE(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "no new privileges");
    REQUIRE(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0, "no filter");
}

int main(void)
{
    static const size_t sizes[] = {3000, 20000, 100000, 3 << 20};
    require_hz3();
    ignore_purges();
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        size_t size = sizes[i], count = size > 1 << 20 ? 20 : BLOCKS;
        void *blocks[BLOCKS];
        for (int turn = 0; turn < 2; turn++) {
            for (size_t at = 0; at < count; at++) {
                char *block = blocks[at] = calloc(1, size);
                REQUIRE(block, "no memory");
                size_t zeroes = 0;
                while (zeroes < size && !block[zeroes]) {
                    zeroes++;
                }
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
