/* Threads start and end, in the way that the argument names. */
#define _GNU_SOURCE
#include "check.h"
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/syscall.h>
#include <unistd.h>

static void churn(unsigned seed, int steps)
{
    char *held[40] = {0};
    for (int i = 0; i < steps; i++) {
        seed = seed * 1103515245 + 12345;
        unsigned pick = seed >> 8, slot = pick % 40;
        size_t size = pick % 50 == 0 ? pick % 200000 : pick % 2000;
        if (held[slot]) {
            CHECK(held[slot][0] == (char)slot, "a block was overwritten");
        }
        free(held[slot]);
        held[slot] = malloc(size + 1);
        held[slot][0] = (char)slot;
    }
    for (int i = 0; i < 40; i++) {
        free(held[i]);
    }
}

static void *brief(void *argument)
{
    churn((unsigned)(uintptr_t)argument, 20);
    return NULL;
}

static void short_lived(void)
{
    long long before = 0;
    for (uintptr_t i = 0; i < 5000; i++) {
        pthread_t thread;
        REQUIRE(pthread_create(&thread, NULL, brief, (void *)i) == 0, "thread %zu", (size_t)i);
        pthread_join(thread, NULL);
        if (i == 500) {
            before = statistic("metadata");
        }
    }
    /* One cache that is not used again is 256 KiB; the arena's tables may grow by steps of 64. */
    CHECK(statistic("metadata") < before + (256 << 10), "5,000 threads grow the tables from %lld to %lld bytes",
          before, statistic("metadata"));
    CHECK(statistic("threads") <= 2, "%lld caches for one thread", statistic("threads"));
}

static pthread_barrier_t start;
static sem_t turn[64];

static void *ordered(void *argument)
{
    size_t index = (size_t)argument;
    pthread_barrier_wait(&start);
    churn((unsigned)index, 3000);
    sem_wait(&turn[index]);
    return NULL;
}

/* Runs 64 threads at once, which end in order, in reverse order, and from the middle. */
static void any_order(void)
{
    for (int order = 0; order < 3; order++) {
        pthread_t threads[64];
        pthread_barrier_init(&start, NULL, 64);
        for (size_t i = 0; i < 64; i++) {
            sem_init(&turn[i], 0, 0);
            REQUIRE(pthread_create(&threads[i], NULL, ordered, (void *)i) == 0, "thread %zu", i);
        }
        for (size_t i = 0; i < 64; i++) {
            size_t next = order == 0 ? i : order == 1 ? 63 - i : (i * 37 + 32) % 64;
            sem_post(&turn[next]);
            pthread_join(threads[next], NULL);
        }
    }
}

static pthread_key_t early_key, late_key;
static int destroyed;

/* Allocates and frees in every round of destructors, before and after hz3's own destructor ran. */
static void destructor(void *value)
{
    __atomic_fetch_add(&destroyed, 1, __ATOMIC_RELAXED);
    size_t *count = value;
    pthread_key_t key = count[1] ? late_key : early_key;
    churn((unsigned)count[0], 200);
    if (count[0] > 1) {
        size_t *next = malloc(16);
        next[0] = count[0] - 1;
        next[1] = count[1];
        pthread_setspecific(key, next);
    }
    free(count);
}

static void *with_keys(void *argument)
{
    for (size_t late = 0; late < 2; late++) {
        size_t *count = malloc(16);
        /* After PTHREAD_DESTRUCTOR_ITERATIONS rounds glibc runs no more destructors. */
        count[0] = 4;
        count[1] = late;
        pthread_setspecific(late ? late_key : early_key, count);
        churn((unsigned)(uintptr_t)argument, 100);
    }
    return NULL;
}

__attribute__((constructor(101))) static void first_of_all(void)
{
    pthread_key_create(&early_key, destructor);
}

static void keys(void)
{
    churn(1, 1000);
    pthread_key_create(&late_key, destructor);
    for (int round = 0; round < 100; round++) {
        pthread_t threads[8];
        for (uintptr_t i = 0; i < 8; i++) {
            REQUIRE(pthread_create(&threads[i], NULL, with_keys, (void *)i) == 0, "round %d",
                    round);
        }
        for (int i = 0; i < 8; i++) {
            pthread_join(threads[i], NULL);
        }
    }
    CHECK(destroyed == 100 * 8 * 2 * 4, "%d destructor calls", destroyed);
    CHECK(statistic("threads") <= 2, "%lld caches for one thread", statistic("threads"));
}

static pthread_key_t round_key;

/* Allocates in the last round of destructors alone, after which hz3's destructor does not run. */
static void in_last_round(void *round)
{
    if ((uintptr_t)round < PTHREAD_DESTRUCTOR_ITERATIONS) {
        pthread_setspecific(round_key, (void *)((uintptr_t)round + 1));
    } else {
        churn(1, 100);
    }
}

static void *ends_late(void *unused)
{
    pthread_setspecific(round_key, (void *)1);
    return unused;
}

/* Ends in a way in which no destructor runs. */
static void *ends_bare(void *unused)
{
    churn(2, 100);
    syscall(SYS_exit, 0);
    return unused;
}

/* Threads that cannot give their caches back. hz3 takes them back once there are many. */
static void silent(void)
{
    void *(*ways[])(void *) = {ends_late, ends_bare};
    pthread_key_create(&round_key, in_last_round);
    for (int i = 0; i < 400; i++) {
        pthread_t thread;
        REQUIRE(pthread_create(&thread, NULL, ways[i / 200], NULL) == 0, "thread %d", i);
        pthread_join(thread, NULL);
        churn((unsigned)i, 100);
    }
    CHECK(statistic("threads") < 80, "%lld caches for one thread", statistic("threads"));
}

/* Returns the number of threads of this process, that of hz3 included. */
static int tasks(void)
{
    int count = 0;
    DIR *all = opendir("/proc/self/task");
    for (struct dirent *task; all && (task = readdir(all));) {
        count += task->d_name[0] != '.';
    }
    closedir(all);
    return count;
}

static int running;

static void *detached_run(void *argument)
{
    churn((unsigned)(uintptr_t)argument, 500);
    __atomic_fetch_sub(&running, 1, __ATOMIC_RELEASE);
    return NULL;
}

static void detached(void)
{
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    for (uintptr_t i = 0; i < 1000; i++) {
        pthread_t thread;
        __atomic_fetch_add(&running, 1, __ATOMIC_RELAXED);
        REQUIRE(pthread_create(&thread, &attributes, detached_run, (void *)i) == 0, "thread %zu",
                (size_t)i);
        while (__atomic_load_n(&running, __ATOMIC_ACQUIRE) > 16) {
            usleep(100);
        }
    }
    while (__atomic_load_n(&running, __ATOMIC_ACQUIRE)) {
        usleep(100);
    }
    /* The last of them may still be in their destructors when main returns. */
}

static void *no_call(void *barrier)
{
    pthread_barrier_wait(barrier);
    return NULL;
}

/* Detached threads that allocate nothing. At its end such a thread frees what the C library kept
 * for others, if that has become too much. */
static void no_calls(void)
{
    enum { COUNT = 40 };
    static pthread_barrier_t end;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_barrier_init(&end, NULL, COUNT + 1);
    for (int round = 0; round < 20; round++) {
        pthread_t thread;
        for (int i = 0; i < COUNT; i++) {
            REQUIRE(pthread_create(&thread, &attributes, no_call, &end) == 0, "round %d", round);
        }
        pthread_barrier_wait(&end);
        while (tasks() > 2) {
            usleep(1000);
        }
    }
    CHECK(statistic("threads") <= 2, "%lld caches for one thread", statistic("threads"));
}

enum { BLOCKS = 20000 };
static char *blocks[BLOCKS];

static void *allocate_all(void *unused)
{
    for (size_t i = 0; i < BLOCKS; i++) {
        size_t size = i % 100 == 0 ? 50000 : 16 + i % 1500;
        blocks[i] = malloc(size);
        fill(blocks[i], 16, i);
    }
    return unused;
}

static void *free_part(void *argument)
{
    for (size_t i = (size_t)argument; i < BLOCKS; i += 4) {
        CHECK(intact(blocks[i], 16, i) == 16, "block %zu", i);
        free(blocks[i]);
    }
    return NULL;
}

/* Four threads free the blocks of a thread that has ended. */
static void remote(void)
{
    long long before = statistic("allocated");
    for (int round = 0; round < 20; round++) {
        pthread_t owner, others[4];
        pthread_create(&owner, NULL, allocate_all, NULL);
        pthread_join(owner, NULL);
        for (size_t i = 0; i < 4; i++) {
            pthread_create(&others[i], NULL, free_part, (void *)i);
        }
        for (int i = 0; i < 4; i++) {
            pthread_join(others[i], NULL);
        }
    }
    hz3_collect();
    CHECK(statistic("allocated") < before + (1 << 20), "%lld bytes, before %lld",
          statistic("allocated"), before);
}

/* Returns whether a thread of this process has the name. */
static int has_thread(const char *name)
{
    char path[300], found[32] = "";
    int has = 0;
    DIR *tasks = opendir("/proc/self/task");
    for (struct dirent *task; tasks && (task = readdir(tasks));) {
        snprintf(path, sizeof path, "/proc/self/task/%s/comm", task->d_name);
        FILE *file = fopen(path, "r");
        if (file) {
            has |= fgets(found, sizeof found, file) && !strncmp(found, name, strlen(name));
            fclose(file);
        }
    }
    closedir(tasks);
    return has;
}

/* Keeps a cache until the pipe is closed. */
static void *wait_with_a_cache(void *pipe)
{
    char byte;
    free(malloc(100));
    CHECK(read(*(int *)pipe, &byte, 1) == 1, "nothing to read");
    return NULL;
}

/* Frees enough memory in a process of two threads to start the reclaimer; then both end. */
static void *outlive_main(void *main_thread)
{
    int ends[2];
    pthread_t other;
    REQUIRE(pthread_join(*(pthread_t *)main_thread, NULL) == 0, "main has not ended");
    REQUIRE(pipe(ends) == 0, "no pipe");
    pthread_create(&other, NULL, wait_with_a_cache, &ends[0]);
    allocate_all(NULL);
    free_part(NULL);
    for (int i = 0; i < 6000 && !has_thread("hz3-reclaimer"); i++) {
        usleep(10000);
    }
    CHECK(has_thread("hz3-reclaimer"), "there is no reclaimer");
    CHECK(write(ends[1], "x", 1) == 1, "nothing written");
    pthread_join(other, NULL);
    if (finish()) {
        exit(1);
    }
    return NULL;
}

/* main ends before another thread. The process ends with status 0 when the program's last thread
 * ends, because the reclaimer's thread ends too. */
static void main_ends(void)
{
    static pthread_t self;
    pthread_t thread;
    self = pthread_self();
    pthread_create(&thread, NULL, outlive_main, &self);
    pthread_detach(thread);
    pthread_exit(NULL);
}

int main(int argc, char **argv)
{
    require_hz3();
    REQUIRE(argc == 2, "no way named");
    if (!strcmp(argv[1], "short")) {
        short_lived();
    } else if (!strcmp(argv[1], "order")) {
        any_order();
    } else if (!strcmp(argv[1], "keys")) {
        keys();
    } else if (!strcmp(argv[1], "detached")) {
        detached();
    } else if (!strcmp(argv[1], "no-calls")) {
        no_calls();
    } else if (!strcmp(argv[1], "silent")) {
        silent();
    } else if (!strcmp(argv[1], "remote")) {
        remote();
    } else if (!strcmp(argv[1], "main-ends")) {
        main_ends();
    } else {
        CHECK(0, "unknown way %s", argv[1]);
    }
    return finish();
}
