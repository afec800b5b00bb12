/* Allocates until hz3 has written the file of metrics, then does what the mode says. */
#include "check.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LARGE = 24 << 20 };

static void churn(void)
{
    void *some[5000];
    for (int i = 0; i < 5000; i++) {
        some[i] = malloc(3000);
    }
    for (int i = 0; i < 5000; i++) {
        free(some[i]);
    }
}

/* The thread keeps these blocks, and seldom looks for work meanwhile: `free` then, too, leaves errno
 * as it is. */
static void free_large(void)
{
    void *large[8];
    for (int i = 0; i < 8; i++) {
        large[i] = malloc(100000 + 50000 * i);
    }
    for (int i = 0; i < 8; i++) {
        errno = 4242;
        free(large[i]);
        CHECK(errno == 4242, "free sets errno %d", errno);
    }
}

static pthread_barrier_t has_cache;

static void *wait_for_ever(void *nothing)
{
    free(malloc(1));
    pthread_barrier_wait(&has_cache);
    for (;;) {
        pause();
    }
    return nothing;
}

static void churn_until(const char *path)
{
    while (access(path, F_OK) != 0) {
        churn();
    }
}

int main(int count, char **arguments)
{
    const char *path = count > 2 ? arguments[1] : "", *mode = count > 2 ? arguments[2] : "";
    struct pollfd input = { 0, POLLIN, 0 };
    char own[512];
    pthread_t thread;
    require_hz3();
    if (!strcmp(mode, "fails")) {
        for (int i = 0; i < 300; i++) {
            churn();
            free_large();
        }
        return finish();
    }
    if (!strcmp(mode, "forks")) {
        churn_until(path);
        pid_t child = fork();
        if (child == 0) {
            snprintf(own, sizeof own, "%s.%d", path, (int)getpid());
            churn_until(own);
            _exit(0);
        }
        int status = 1;
        REQUIRE(waitpid(child, &status, 0) == child && status == 0, "the child: %d", status);
        printf("%d\n", (int)child);
        return 0;
    }
    pthread_barrier_init(&has_cache, NULL, 2);
    REQUIRE(pthread_create(&thread, NULL, wait_for_ever, NULL) == 0, "a thread");
    pthread_barrier_wait(&has_cache);
    char *large = malloc(LARGE);
    REQUIRE(large, "no memory");
    memset(large, 1, LARGE);
    churn_until(path);
    /* A file that was begun before the block does not count: the third one was begun after it. */
    for (int i = 0; i < 2 && !strcmp(mode, "works"); i++) {
        unlink(path);
        churn_until(path);
    }
    if (!strcmp(mode, "rests")) {
        free(large);
    }
    puts("ready");
    fflush(stdout);
    while (poll(&input, 1, strcmp(mode, "works") ? -1 : 0) == 0) {
        churn();
    }
    return 0;
}
