/* Fork handlers that allocate, of the program and of a library that is loaded before hz3. */
#include "check.h"
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

static int stop;

static void work(void)
{
    for (int i = 0; i < 300; i++) {
        free(malloc((size_t)i * 400));
    }
}

static void *run(void *unused)
{
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
        work();
    }
    return unused;
}

int main(void)
{
    require_hz3();
    pthread_atfork(work, work, work);
    pthread_t thread;
    pthread_create(&thread, NULL, run, NULL);
    for (int i = 0; i < 50; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            alarm(120);
            work();
            _exit(0);
        }
        int status = -1;
        REQUIRE(waitpid(pid, &status, 0) == pid && status == 0, "child %d: status %x", i,
                (unsigned)status);
    }
    __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
    pthread_join(thread, NULL);
    return finish();
}
