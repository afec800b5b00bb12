/* Fork out of a process whose threads allocate at full speed: do the children allocate, start
 * threads, fork again and end? */
#include "check.h"
#include <errno.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 8, FORKS = 200 };

static int stop;
static void *exchange[64];

static void churn(unsigned *seed, int steps)
{
    for (int i = 0; i < steps; i++) {
        *seed = *seed * 1103515245 + 12345;
        unsigned pick = *seed >> 8;
        size_t size = pick % 64 == 0 ? pick % 3000000 : pick % 16 == 0 ? pick % 60000 : pick % 1500;
        char *block = malloc(size + 1);
        block[0] = block[size] = 1;
        /* Whoever comes next frees it: blocks travel between threads. */
        free(__atomic_exchange_n(&exchange[pick % 64], block, __ATOMIC_ACQ_REL));
    }
}

static void *run(void *argument)
{
    unsigned seed = (unsigned)(uintptr_t)argument;
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
        churn(&seed, 100);
    }
    return NULL;
}

static void *run_briefly(void *argument)
{
    unsigned seed = (unsigned)(uintptr_t)argument;
    churn(&seed, 300);
    return NULL;
}

/* What a child does; its exit status is the number of the step that went wrong. */
static int child(unsigned seed, int generation)
{
    pthread_t threads[3];
    churn(&seed, 500);
    for (uintptr_t i = 0; i < 3; i++) {
        if (pthread_create(&threads[i], NULL, run_briefly, (void *)(seed + i))) {
            return 2;
        }
    }
    if (generation == 0) {
        /* The grandchild forks while the child's own threads run. */
        pid_t grandchild = fork();
        if (grandchild == 0) {
            _exit(child(seed + 7, 1));
        }
        int status;
        if (grandchild < 0 || waitpid(grandchild, &status, 0) != grandchild || status) {
            return 3;
        }
    }
    for (int i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
    }
    hz3_collect();
    churn(&seed, 100);
    return 0;
}

int main(void)
{
    require_hz3();
    pthread_t threads[THREADS];
    for (uintptr_t i = 0; i < THREADS; i++) {
        pthread_create(&threads[i], NULL, run, (void *)(i + 1));
    }
    for (int i = 0; i < FORKS; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            /* A child that hangs ends by this signal, and its parent says so. */
            alarm(120);
            _exit(child((unsigned)i * 77, 0));
        }
        int status = -1;
        REQUIRE(pid > 0 && waitpid(pid, &status, 0) == pid, "fork %d: errno %d", i, errno);
        REQUIRE(status == 0, "child %d: status %x", i, (unsigned)status);
        /* The parent allocates too: after each fork its own cache must be whole. */
        unsigned seed = (unsigned)i;
        churn(&seed, 50);
    }
    __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    return finish();
}
