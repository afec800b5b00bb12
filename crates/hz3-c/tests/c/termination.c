/* SIGTERM ends the process, or meets a handler of the program's own. With HZ3_STATS, is there a
 * report in the first case, and is hz3 out of the way in the second?
 *
 * argv[1]: "default", "own" (a handler, installed after hz3's, ends the process by _exit(3)),
 * "exit" (one that calls exit(4)), "ignored", or "busy" (the signal comes during allocations). */
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

int main(int argc, char **argv)
{
    require_hz3();
    CHECK(argc == 2, "one argument");
    void *volatile block = malloc(100);
    CHECK(block, "no memory");
    free(block);
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
