/* Prints the page faults of parent and child in a fork of a process with one thread. */
#include "check.h"
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FORKS = 100, SIZES = 60 };

static long faults(void)
{
    struct rusage own, children;
    getrusage(RUSAGE_SELF, &own);
    getrusage(RUSAGE_CHILDREN, &children);
    return own.ru_minflt + children.ru_minflt;
}

int main(void)
{
    void *blocks[SIZES];
    for (size_t i = 0; i < SIZES; i++) {
        blocks[i] = malloc(16 + i * i * 20);
    }
    for (size_t i = 0; i < SIZES; i++) {
        free(blocks[i]);
    }
    long before = faults();
    for (int i = 0; i < FORKS; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            free(malloc(16));
            _exit(0);
        }
        int status = -1;
        REQUIRE(waitpid(pid, &status, 0) == pid && status == 0, "status %x", (unsigned)status);
    }
    printf("%ld\n", (faults() - before) / FORKS);
    return 0;
}
