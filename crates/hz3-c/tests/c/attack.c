/* Threads allocate, fill, check, resize, hand over and free blocks of all sizes, end, and are
 * replaced by others. Meanwhile the process forks, madvise fails at random, and other threads
 * reclaim memory. Does any byte change, and is all memory free in the end?
 *   attack SEED MILLISECONDS */
#include "check.h"
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern void hz3_epoch_force(void) __attribute__((weak));

enum { LINES = 4, SLOTS = 150, SHARED = 64, LIFE = 2000 };

struct block {
    char *start;
    size_t size;
    uint64_t seed;
};

/* A sequence of threads, each of which takes over the slots of its predecessor. */
struct line {
    uint64_t random;
    struct block slots[SLOTS];
};

/* A slot through which two lines exchange blocks. */
struct place {
    pthread_mutex_t lock;
    struct block block;
};

static uint64_t first_seed;
static int stop;
static struct place *shared;
static uint64_t operations, lives;

static uint64_t draw(uint64_t *random)
{
    *random = *random * 6364136223846793005u + 1442695040888963407u;
    return *random >> 33;
}

/* Lets the kernel refuse madvise for one range in eight, selected by a hash of its address and
 * length, in every thread (also hz3's reclaimer) and forked child. */
static void refuse_some_madvise(void)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_madvise, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
        BPF_STMT(BPF_MISC | BPF_TAX, 0),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
        BPF_STMT(BPF_ALU | BPF_ADD | BPF_X, 0),
        BPF_STMT(BPF_ALU | BPF_ADD | BPF_K, (uint32_t)first_seed << 12),
        BPF_STMT(BPF_ALU | BPF_MUL | BPF_K, 0x9e3779b1),
        BPF_STMT(BPF_ALU | BPF_RSH | BPF_K, 29),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOMEM),
    };
    struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
    REQUIRE(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "errno %d", errno);
    REQUIRE(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0, "errno %d", errno);
}

static _Noreturn void wrong(const struct block *block, size_t at, const char *what)
{
    fprintf(stderr, "%s: seed %llu, process %d: byte %zu of a block of %zu at %p\n", what,
            (unsigned long long)first_seed, (int)getpid(), at, block->size, (void *)block->start);
    abort();
}

/* Word number `index` of a block's contents. */
static uint64_t word(uint64_t seed, size_t index)
{
    return (seed + index) * 0x9e3779b97f4a7c15u;
}

static void write_all(const struct block *block)
{
    size_t words = block->size / 8;
    for (size_t i = 0; i < words; i++) {
        uint64_t value = word(block->seed, i);
        memcpy(block->start + i * 8, &value, 8);
    }
    uint64_t last = word(block->seed, words);
    memcpy(block->start + words * 8, &last, block->size % 8);
}

/* Checks the first `size` bytes. */
static void check_all(const struct block *block, size_t size)
{
    size_t words = size / 8;
    for (size_t i = 0; i < words; i++) {
        uint64_t value = word(block->seed, i);
        if (memcmp(block->start + i * 8, &value, 8)) {
            wrong(block, i * 8, "a byte changed");
        }
    }
    uint64_t last = word(block->seed, words);
    if (memcmp(block->start + words * 8, &last, size % 8)) {
        wrong(block, words * 8, "a byte changed");
    }
}

static size_t draw_size(uint64_t *random)
{
    uint64_t kind = draw(random) % 1024, pick = draw(random);
    return kind == 0   ? pick % 8000000
           : kind < 8  ? pick % 400000
           : kind < 80 ? pick % 40000
                       : pick % 1500;
}

static int is_zero(const char *start, size_t size)
{
    return start[0] == 0 && memcmp(start, start + 1, size - 1) == 0;
}

static struct block allocate(uint64_t *random)
{
    struct block block = { NULL, draw_size(random), draw(random) };
    uint64_t kind = draw(random) % 16;
    if (kind < 4) {
        block.start = calloc(1, block.size);
        if (block.start && block.size && !is_zero(block.start, block.size)) {
            wrong(&block, 0, "calloc's block is not zero");
        }
    } else if (kind == 4) {
        size_t align = (size_t)16 << draw(random) % 13;
        void *start = NULL;
        if (posix_memalign(&start, align, block.size) || (uintptr_t)start % align) {
            wrong(&block, align, "posix_memalign");
        }
        block.start = start;
    } else {
        block.start = malloc(block.size);
    }
    if (!block.start) {
        wrong(&block, 0, "no memory");
    }
    write_all(&block);
    return block;
}

static void release(struct block *block)
{
    if (block->start) {
        check_all(block, block->size);
        free(block->start);
        block->start = NULL;
    }
}

static void resize(struct block *block, uint64_t *random)
{
    size_t size = draw_size(random) + 1;
    char *start = realloc(block->start, size);
    if (!start) {
        wrong(block, 0, "no memory for realloc");
    }
    block->start = start;
    check_all(block, size < block->size ? size : block->size);
    block->size = size;
    write_all(block);
}

/* Puts a block into a shared slot; the caller gets the block that was there. */
static void hand_over(struct block *block, struct place *place)
{
    pthread_mutex_lock(&place->lock);
    struct block other = place->block;
    place->block = *block;
    pthread_mutex_unlock(&place->lock);
    *block = other;
}

static void *live(void *argument)
{
    struct line *line = argument;
    uint64_t *random = &line->random;
    uint64_t length = 1 + draw(random) % LIFE;
    for (uint64_t i = 0; i < length; i++) {
        struct block *slot = &line->slots[draw(random) % SLOTS];
        if (slot->start) {
            check_all(slot, slot->size);
            switch (draw(random) % 8) {
            case 0:
                resize(slot, random);
                continue;
            case 1:
            case 2:
                hand_over(slot, &shared[draw(random) % SHARED]);
            }
            release(slot);
        }
        if (draw(random) % 4) {
            *slot = allocate(random);
        }
    }
    __atomic_fetch_add(&operations, length, __ATOMIC_RELAXED);
    __atomic_fetch_add(&lives, 1, __ATOMIC_RELAXED);
    return NULL;
}

static void live_in_a_thread(struct line *line)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, live, line)) {
        perror("pthread_create");
        abort();
    }
    pthread_join(thread, NULL);
}

static void *succeed(void *line)
{
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
        live_in_a_thread(line);
    }
    return NULL;
}

static void *reclaim(void *unused)
{
    uint64_t random = first_seed + 1000;
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
        switch (draw(&random) % 4) {
        case 0:
            hz3_collect();
            break;
        case 1:
            malloc_trim(draw(&random) % (8 << 20));
            break;
        default:
            hz3_epoch_force();
        }
        struct timespec pause = { 0, (long)(draw(&random) % 400000) };
        nanosleep(&pause, NULL);
    }
    return unused;
}

static struct place *places(void)
{
    struct place *all = calloc(SHARED, sizeof *all);
    for (int i = 0; i < SHARED; i++) {
        pthread_mutex_init(&all[i].lock, NULL);
    }
    return all;
}

static void release_line(struct line *line)
{
    for (int i = 0; i < SLOTS; i++) {
        release(&line->slots[i]);
    }
}

/* A child continues with its parent's blocks. It begins with new shared slots, because threads that
 * it does not have may hold the locks of the old ones. */
static void child(struct line *line)
{
    alarm(120);
    stop = 0;
    shared = places();
    pthread_t reclaimer;
    /* Some children call hz3 first, others pthread_create. */
    if (draw(&line->random) % 2) {
        hz3_collect();
    }
    live_in_a_thread(line);
    if (pthread_create(&reclaimer, NULL, reclaim, NULL)) {
        abort();
    }
    live(line);
    __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
    pthread_join(reclaimer, NULL);
    release_line(line);
    if (draw(&line->random) % 2) {
        exit(0);
    }
    _exit(0);
}

static uint64_t milliseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

int main(int count, char **arguments)
{
    static struct line lines[LINES + 1];
    require_hz3();
    REQUIRE(count == 3, "usage: attack SEED MILLISECONDS");
    first_seed = strtoull(arguments[1], NULL, 10);
    uint64_t length = strtoull(arguments[2], NULL, 10);
    uint64_t end = milliseconds() + length;
    /* This signal ends a process that hangs. */
    alarm((unsigned)(length / 1000) + 120);
    for (unsigned i = 0; i <= LINES; i++) {
        lines[i].random = first_seed * 100 + i;
    }
    shared = places();
    refuse_some_madvise();
    hz3_collect();
    long long before = statistic("allocated");
    pthread_t threads[LINES], reclaimer;
    for (int i = 0; i < LINES; i++) {
        REQUIRE(!pthread_create(&threads[i], NULL, succeed, &lines[i]), "thread %d", i);
    }
    REQUIRE(!pthread_create(&reclaimer, NULL, reclaim, NULL), "the reclaimer");
    uint64_t forks = 0;
    do {
        live(&lines[LINES]);
        fflush(NULL);
        pid_t pid = fork();
        if (pid == 0) {
            child(&lines[LINES]);
        }
        int status = -1;
        REQUIRE(pid > 0 && waitpid(pid, &status, 0) == pid, "fork: errno %d", errno);
        REQUIRE(status == 0, "seed %s: child number %llu: status %x", arguments[1],
                (unsigned long long)forks, (unsigned)status);
        forks++;
    } while (milliseconds() < end);
    __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
    for (int i = 0; i < LINES; i++) {
        pthread_join(threads[i], NULL);
    }
    pthread_join(reclaimer, NULL);
    for (int i = 0; i <= LINES; i++) {
        release_line(&lines[i]);
    }
    for (int i = 0; i < SHARED; i++) {
        release(&shared[i].block);
    }
    hz3_collect();
    /* The C library keeps a few blocks of ended threads; more is a leak. */
    long long left = statistic("allocated") - before;
    REQUIRE(left < 64 << 10, "seed %s: %lld bytes are not free", arguments[1], left);
    long long refused = statistic("madvise_refused");
    REQUIRE(refused > 0, "no call was refused");
    printf("operations %llu, threads %llu, forks %llu, madvise %lld, refused %lld, pages %lld\n",
           (unsigned long long)operations, (unsigned long long)lives, (unsigned long long)forks,
           statistic("madvise_calls"), refused, statistic("purged_bytes") / 4096);
    return 0;
}
