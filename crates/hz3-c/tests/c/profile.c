/* The heap profile is switched on and off and written while threads allocate, fork and take
 * signals. Do blocks keep their contents, and does every call return? */
#include "check.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

extern int hz3_profile_start(unsigned rate) __attribute__((weak));
extern void hz3_profile_stop(void) __attribute__((weak));
extern int hz3_profile_write(const char *path) __attribute__((weak));

enum { THREADS = 3, SLOTS = 64, ROUNDS = 40, MOST_SIZES = 2000, HANDLERS_SIZE = 3000 };

static int stop;

/* Allocates from a size class that the rest of the program does not use: a handler that interrupts
 * malloc inside its own class may get the same block, with any allocator. */
static void handler(int number)
{
    (void)number;
    int kept = errno;
    free(malloc(HANDLERS_SIZE));
    errno = kept;
}

static void churn(unsigned seed, int rounds)
{
    char *held[SLOTS] = {0};
    size_t sizes[SLOTS] = {0};
    for (int i = 0; i < rounds; i++) {
        seed = seed * 1103515245 + 12345;
        unsigned pick = seed >> 8, slot = pick % SLOTS;
        size_t edge = sizes[slot] < 64 ? sizes[slot] : 64;
        CHECK(intact(held[slot], edge, slot) == edge, "a block of %zu bytes", sizes[slot]);
        size_t size = pick % MOST_SIZES + 1;
        if (pick % 50 == 0) {
            size = pick % 300000 + 2 * HANDLERS_SIZE;
        }
        if (pick % 5 == 0) {
            held[slot] = realloc(held[slot], size);
        } else {
            free(held[slot]);
            held[slot] = malloc(size);
        }
        CHECK(held[slot], "size %zu", size);
        sizes[slot] = size;
        fill(held[slot], size < 64 ? size : 64, slot);
    }
    for (int i = 0; i < SLOTS; i++) {
        free(held[i]);
    }
}

static void *run(void *argument)
{
    unsigned seed = (unsigned)(uintptr_t)argument;
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
        churn(seed++, 1000);
    }
    return NULL;
}

int main(int count, char **arguments)
{
    const char *path = count > 1 ? arguments[1] : NULL;
    CHECK(path, "a path");
    if (count > 2 && !strcmp(arguments[2], "fork")) {
        /* The environment started the profile: the child, too, writes a file of its own at exit. */
        churn(1, 20000);
        pid_t child = fork();
        if (child == 0) {
            churn(2, 20000);
            exit(0);
        }
        int status = 1;
        waitpid(child, &status, 0);
        printf("%ld %ld %d\n", (long)getpid(), (long)child, status);
        return 0;
    }
    if (count > 2) {
        /* The environment started the profile; the signal of that number asks for a dump. */
        void *volatile kept = malloc(1 << 20);
        raise(atoi(arguments[2]));
        churn(1, 20000);
        CHECK(access(path, R_OK) == 0 && kept, "no file after the signal");
        puts("ok");
        return 0;
    }
    CHECK(hz3_profile_write(path) == EAGAIN, "a profile before the start");
    CHECK(hz3_profile_write(NULL) == EINVAL, "no path");
    signal(SIGALRM, handler);
    struct itimerval often = {{0, 1000}, {0, 1000}};
    setitimer(ITIMER_REAL, &often, NULL);
    pthread_t threads[THREADS];
    for (uintptr_t i = 0; i < THREADS; i++) {
        CHECK(pthread_create(&threads[i], NULL, run, (void *)(i + 1)) == 0, "thread");
    }
    for (int round = 0; round < ROUNDS; round++) {
        errno = 77;
        CHECK(hz3_profile_start(round % 2 ? 1000 : 20000) == 0 && errno == 77, "start");
        churn(round, 2000);
        CHECK(hz3_profile_write(path) == 0, "write in round %d", round);
        pid_t child = fork();
        if (child == 0) {
            churn(round, 1000);
            _exit(hz3_profile_write("/dev/null") == EIO ? 0 : 1);
        }
        int status = 0;
        while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
        }
        CHECK(child > 0 && status == 0, "child: %d", status);
        hz3_profile_stop();
        churn(round, 2000);
    }
    __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
    for (int i = 0; i < THREADS; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0, "join");
    }
    puts("ok");
    return 0;
}
