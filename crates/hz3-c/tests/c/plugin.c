/* Loads a plugin that contains an allocator, runs threads in it, unloads it, lets the threads end,
 * and forks. */
#include <dlfcn.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

static pthread_barrier_t barrier;
static void (*work)(int mebibytes);

static void *run(void *unused)
{
    (void)unused;
    work(40);
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_t threads[2];
    REQUIRE(argc == 2, "no plugin named");
    for (int round = 0; round < 3; round++) {
        void *plugin = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
        REQUIRE(plugin, "%s", dlerror());
        work = (void (*)(int))dlsym(plugin, "work");
        pthread_barrier_init(&barrier, NULL, 3);
        for (int i = 0; i < 2; i++) {
            pthread_create(&threads[i], NULL, run, NULL);
        }
        pthread_barrier_wait(&barrier);
        dlclose(plugin);
        /* A reclaimer inside would tick meanwhile. */
        usleep(300000);
        pthread_barrier_wait(&barrier);
        for (int i = 0; i < 2; i++) {
            pthread_join(threads[i], NULL);
        }
        int status;
        pid_t child = fork();
        if (!child) {
            _exit(0);
        }
        REQUIRE(waitpid(child, &status, 0) == child && status == 0, "status %x", status);
    }
    return finish();
}
