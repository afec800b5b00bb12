/* A fork that waits, in a library's handler, for a thread that allocates. If that handler runs after
 * hz3's own, the fork holds the heap's locks meanwhile.
 *
 *     fork_circle asleep    the handler sleeps until the thread has its blocks
 *     fork_circle options   the same, and the thread first sets an option
 *     fork_circle awake     the handler takes its time, without sleeping: no reason to break the fork
 */
#include "check.h"
#include <pthread.h>
#include <semaphore.h>
#include <stdint.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern int hz3_set(const char *, const char *) __attribute__((weak));
void fork_circle_set(void (*wait)(void));

enum { FORKS = 4, BLOCKS = 200 };

static sem_t forking, allocated;
static int sets_options;

/* Slow paths of all kinds: first blocks of a class, large ones, frees. */
static void work(void)
{
    static __thread unsigned turn;
    void *blocks[BLOCKS];
    turn++;
    for (size_t i = 0; i < BLOCKS; i++) {
        blocks[i] = malloc(i * i * 40 + turn);
        REQUIRE(blocks[i], "no memory");
        memset(blocks[i], (int)i, i);
    }
    for (size_t i = 0; i < BLOCKS; i++) {
        blocks[i] = realloc(blocks[i], i * 5000 + 1);
        REQUIRE(blocks[i] && (i == 0 || *(unsigned char *)blocks[i] == i), "block %zu", i);
        free(blocks[i]);
    }
}

static void *run(void *argument)
{
    for (int i = 0; i < FORKS; i++) {
        sem_wait(&forking);
        if (sets_options) {
            CHECK(hz3_set("tick_ms", "125") == 0, "the option is refused");
        }
        work();
        sem_post(&allocated);
    }
    return argument;
}

static void wait_asleep(void)
{
    sem_post(&forking);
    sem_wait(&allocated);
}

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void wait_awake(void)
{
    sem_post(&forking);
    for (double end = seconds() + 0.5; seconds() < end;) {
    }
}

/* Whether two addresses are within one heap: what a child gets while the heap is closed to it lies
 * elsewhere. */
static int are_near(void *first, void *second)
{
    uintptr_t one = (uintptr_t)first, other = (uintptr_t)second;
    return (one > other ? one - other : other - one) < (uintptr_t)1 << 33;
}

static int child(void *of_parent, int is_whole)
{
    alarm(120);
    work();
    void *block = malloc(3000);
    if (is_whole && !are_near(block, of_parent)) {
        return 2;
    }
    free(block);
    free(of_parent);
    int status = -1;
    pid_t pid = fork();
    if (pid == 0) {
        work();
        execlp("true", "true", NULL);
        _exit(3);
    }
    return waitpid(pid, &status, 0) == pid && status == 0 ? 0 : 4;
}

int main(int count, char **arguments)
{
    require_hz3();
    int is_whole = count > 1 && strcmp(arguments[1], "awake") == 0;
    sets_options = count > 1 && strcmp(arguments[1], "options") == 0;
    sem_init(&forking, 0, 0);
    sem_init(&allocated, 0, 0);
    pthread_t thread;
    pthread_create(&thread, NULL, run, NULL);
    alarm(120);
    for (int i = 0; i < FORKS; i++) {
        void *block = malloc(3000);
        fork_circle_set(is_whole ? wait_awake : wait_asleep);
        pid_t pid = fork();
        fork_circle_set(NULL);
        if (pid == 0) {
            _exit(child(block, is_whole));
        }
        free(block);
        work();
        int status = -1;
        REQUIRE(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0, "child %d: status %x", i,
                (unsigned)status);
    }
    pthread_join(thread, NULL);
    return finish();
}
