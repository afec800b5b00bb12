/* SIGTERM ends the process, or meets a handler of the program's own. With HZ3_STATS, is there a
 * report in the first case, and is hz3 out of the way in the second?
 *
 * argv[1]: "default", "own" (a handler, installed after hz3's, ends the process by _exit(3)),
 * "exit" (one that calls exit(4)), "ignored", "busy" (the signal comes during allocations), or
 * "unhandled" (it comes at once). */
#include "check.h"
#include <signal.h>
#include <sys/time.h>
#include <unistd.h>

static void leave_at_once(int number)
{
    (void)number;
    _exit(3);
}

static void leave(int number)
{
    (void)number;
    exit(4);
}

static void terminate(int number)
{
    (void)number;
    raise(SIGTERM);
}

/* Frees memory that goes back to the system. */
static void burst(void)
{
    enum { BLOCKS = 2000, BYTES = 8000 };
    void *blocks[BLOCKS];
    for (int i = 0; i < BLOCKS; i++) {
        blocks[i] = malloc(BYTES);
        fill(blocks[i], BYTES, (unsigned)i);
    }
    for (int i = 0; i < BLOCKS; i++) {
        free(blocks[i]);
    }
}

/* Waits for hz3's handler, which comes while memory goes back, after the first second. */
static void settle(void)
{
    struct sigaction action = {.sa_handler = SIG_DFL};
    for (int i = 0; action.sa_handler == SIG_DFL; i++) {
        REQUIRE(i < 60000, "no handler after a minute");
        burst();
        usleep(1000);
        sigaction(SIGTERM, NULL, &action);
    }
}

int main(int argc, char **argv)
{
    require_hz3();
    CHECK(argc == 2, "one argument");
    void *volatile block = malloc(100);
    CHECK(block, "no memory");
    free(block);
    struct sigaction action;
    sigaction(SIGTERM, NULL, &action);
    CHECK(action.sa_handler == SIG_DFL || action.sa_handler == SIG_IGN, "a handler at the start");
    if (strcmp(argv[1], "ignored") != 0 && strcmp(argv[1], "unhandled") != 0) {
        settle();
    }
    if (strcmp(argv[1], "own") == 0) {
        signal(SIGTERM, leave_at_once);
    } else if (strcmp(argv[1], "exit") == 0) {
        signal(SIGTERM, leave);
    } else if (strcmp(argv[1], "ignored") == 0) {
        /* The parent ignores the signal, so this process does from its start. */
        raise(SIGTERM);
        return 5;
    } else if (strcmp(argv[1], "busy") == 0) {
        struct itimerval soon = {.it_value = {.tv_usec = 3000}};
        signal(SIGALRM, terminate);
        setitimer(ITIMER_REAL, &soon, NULL);
        for (unsigned i = 0;; i++) {
            block = malloc(33000 + i % 100 * 4096);
            free(block);
        }
    }
    raise(SIGTERM);
    return 6;
}
