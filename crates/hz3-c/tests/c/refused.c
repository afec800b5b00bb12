/* Does a program still work if the system refuses one system call? The arguments are "start", the
 * number of the call, the error, and optionally a library to preload: the program then executes
 * itself with the call refused from its first instruction. Or "later", the number and the error:
 * the call is refused after the process has worked for a while. Or "old" and optionally what to
 * preload: the program executes itself on what Linux 3.2 has of all that hz3 and the C library call.
 *
 * Two threads work with blocks of all kinds. A refusal may cause NULL with ENOMEM, and nothing
 * else. */
#define _GNU_SOURCE
#include "check.h"
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define BLOCKS 64
#define TURNS 200

static int served;

/* Refuses a call if the low half of its argument number `at` is in the range. */
static void refuse_range(unsigned call, int at, unsigned first, unsigned last, unsigned error)
{
    size_t argument = offsetof(struct seccomp_data, args) + 8 * (size_t)at;
    struct sock_filter lines[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 4),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (unsigned)argument),
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, first, 0, 2),
        BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, last, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = {sizeof lines / sizeof *lines, lines};
    REQUIRE(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "no new privileges");
    REQUIRE(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0, "no filter");
}

static void refuse(unsigned call, unsigned error)
{
    refuse_range(call, 0, 0, ~0u, error);
}

/* Refuses what came after Linux 3.2 of all that hz3 calls, or the C library on its behalf. A filter
 * cannot imitate that MAP_FIXED_NOREPLACE (4.17) was ignored before: old_kernel.c does. */
static void refuse_what_is_newer(void)
{
    refuse(SYS_renameat2, ENOSYS);  /* 3.15 */
    refuse(SYS_getrandom, ENOSYS);  /* 3.17 */
    refuse(SYS_membarrier, ENOSYS); /* 4.3, its command 4.14 */
    refuse(SYS_rseq, ENOSYS);       /* 4.18 */
    refuse(SYS_clone3, ENOSYS);     /* 5.3 */
    /* 5.4; MADV_POPULATE_WRITE 5.14 */
    refuse_range(SYS_madvise, 2, MADV_COLD, ~0u, EINVAL);
    refuse_range(SYS_mremap, 3, MREMAP_DONTUNMAP, ~0u, EINVAL); /* 5.7 */
    refuse_range(SYS_prctl, 0, PR_SET_VMA, PR_SET_VMA, EINVAL); /* 5.17 */
}

/* The edges of a block carry its pattern. */
static size_t edge(size_t size)
{
    return size < 128 ? size : 64;
}

static void stamp(char *block, size_t size, size_t seed)
{
    fill(block, edge(size), seed);
    fill(block + size - edge(size), edge(size), seed);
}

static int stamped(const char *block, size_t size, size_t seed)
{
    size_t checked = edge(size);
    return intact(block, checked, seed) == checked &&
           intact(block + size - checked, checked, seed) == checked;
}

/* Allocates by one of the functions of the family, and checks that NULL comes with ENOMEM. */
static char *obtain(size_t turn, size_t size)
{
    errno = 0;
    char *block = turn % 4 == 0   ? calloc(1, size)
                  : turn % 4 == 1 ? aligned_alloc(4096, (size + 4095) / 4096 * 4096)
                                  : malloc(size);
    CHECK(block || errno == ENOMEM, "size %zu: errno %d", size, errno);
    if (block && turn % 4 == 0) {
        for (size_t i = 0; i < edge(size); i++) {
            CHECK(!block[i] && !block[size - 1 - i], "size %zu: zeroed memory is not zero", size);
        }
    }
    return block;
}

static void *work(void *seed)
{
    static const size_t sizes[] = {10, 100, 3000, 30000, 50000, 200000, 3 << 20, 40 << 20};
    struct {
        char *start;
        size_t size, seed;
    } blocks[BLOCKS] = {0};
    size_t random = (size_t)seed;
    for (size_t turn = 0; turn < TURNS; turn++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        size_t at = (random >> 33) % BLOCKS, size = sizes[(random >> 50) % 8];
        char *block;
        if (blocks[at].start) {
            CHECK(stamped(blocks[at].start, blocks[at].size, blocks[at].seed), "turn %zu", turn);
        }
        if (blocks[at].start && turn % 3 == 0) {
            errno = 0;
            block = realloc(blocks[at].start, size);
            if (!block) {
                CHECK(errno == ENOMEM, "realloc: errno %d", errno);
                CHECK(stamped(blocks[at].start, blocks[at].size, blocks[at].seed), "realloc");
                continue;
            }
        } else {
            free(blocks[at].start);
            block = obtain(turn, size);
        }
        blocks[at].start = block;
        blocks[at].size = size;
        blocks[at].seed = turn;
        if (block) {
            __atomic_fetch_add(&served, 1, __ATOMIC_RELAXED);
            stamp(block, size, turn);
        }
        if (turn % 100 == 99) {
            hz3_collect();
        }
    }
    for (size_t at = 0; at < BLOCKS; at++) {
        free(blocks[at].start);
    }
    return NULL;
}

/* Runs two threads, or one after the other if the second cannot be created. */
static void work_in_two_threads(void)
{
    pthread_t other;
    int alone = pthread_create(&other, NULL, work, (void *)1);
    work((void *)2);
    if (alone) {
        work((void *)1);
    } else {
        REQUIRE(pthread_join(other, NULL) == 0, "join");
    }
}

/* Executes this program again, with something to preload if it is not NULL. */
static int begin_again(const char *mode, const char *name, const char *preload)
{
    if (preload) {
        setenv("LD_PRELOAD", preload, 1);
    }
    execl("/proc/self/exe", name, mode, (char *)NULL);
    fprintf(stderr, "exec: error %d\n", errno);
    return 1;
}

int main(int argc, char **argv)
{
    int is_old = 0;
    if (argc >= 4 && !strcmp(argv[1], "start")) {
        refuse((unsigned)atoi(argv[2]), (unsigned)atoi(argv[3]));
        return begin_again("refused", argv[0], argv[4]);
    }
    if (argc >= 2 && !strcmp(argv[1], "old")) {
        refuse_what_is_newer();
        return begin_again("aged", argv[0], argv[2]);
    }
    if (argc == 4 && !strcmp(argv[1], "later")) {
        require_hz3();
        work_in_two_threads();
        refuse((unsigned)atoi(argv[2]), (unsigned)atoi(argv[3]));
        served = 0;
    } else {
        is_old = argc == 2 && !strcmp(argv[1], "aged");
        REQUIRE(is_old || (argc == 2 && !strcmp(argv[1], "refused")), "unknown arguments");
        REQUIRE(hz3_collect, "hz3 is not loaded");
    }
    work_in_two_threads();
    CHECK(served > TURNS / 4, "%d blocks were served", served);
    CHECK(!is_old || syscall(SYS_membarrier, 0, 0) < 0, "the kernel is not as old");
    return finish();
}
