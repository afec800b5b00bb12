/* A thread that fork_alone_lib.c starts in the middle of a fork of a process that had only one. */
#include "check.h"
#include <sys/wait.h>
#include <unistd.h>

enum { FORKS = 50, SIZES = 60 };

void fork_alone_arm(void);

static void work(void)
{
    void *blocks[SIZES];
    for (size_t i = 0; i < SIZES; i++) {
        blocks[i] = malloc(16 + i * i * 20);
        REQUIRE(blocks[i] != NULL, "malloc of %zu", 16 + i * i * 20);
        memset(blocks[i], 1, 16);
    }
    for (size_t i = 0; i < SIZES; i++) {
        free(blocks[i]);
    }
}

static void wait_for(pid_t pid)
{
    int status = -1;
    REQUIRE(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0, "status %x",
            (unsigned)status);
}

static void fork_while_a_thread_starts(void)
{
    for (int i = 0; i < FORKS; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            alarm(60);
            fork_alone_arm();
            pid_t inner = fork();
            if (inner == 0) {
                alarm(60);
                work();
                _exit(0);
            }
            wait_for(inner);
            work();
            _exit(0);
        }
        wait_for(pid);
    }
}

int main(void)
{
    require_hz3();
    fork_while_a_thread_starts();
    return finish();
}
