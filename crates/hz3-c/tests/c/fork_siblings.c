/* What starts or ends a process beside fork, while other threads are in malloc:
 *
 *     fork_siblings spawn    posix_spawn and popen
 *     fork_siblings vfork    vfork, whose child allocates in its parent's memory before it calls exec
 *     fork_siblings clone    the same by clone, with a stack of the child's own
 *     fork_siblings exit     exit, with handlers that allocate: prints "last" at the end
 *     fork_siblings quick    quick_exit, in the same way */
#define _GNU_SOURCE
#include "check.h"
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 3, TURNS = 60, BLOCKS = 150, STACK_BYTES = 256 << 10 };

extern char **environ;

static int stop;

static void work(size_t turn)
{
    char *blocks[BLOCKS];
    for (size_t i = 0; i < BLOCKS; i++) {
        size_t size = i * i * 7 + turn % 500 + 1;
        blocks[i] = malloc(size);
        REQUIRE(blocks[i], "no memory");
        fill(blocks[i], size < 200 ? size : 200, i + turn);
    }
    for (size_t i = 0; i < BLOCKS; i++) {
        size_t size = i * i * 7 + turn % 500 + 1, checked = size < 200 ? size : 200;
        CHECK(intact(blocks[i], checked, i + turn) == checked, "block %zu", i);
        free(blocks[i]);
    }
}

static void *run(void *argument)
{
    for (size_t turn = 0; !__atomic_load_n(&stop, __ATOMIC_RELAXED); turn++) {
        work(turn);
    }
    return argument;
}

static void expect_success(pid_t pid)
{
    int status = -1;
    REQUIRE(pid > 0, "no process: errno %d", errno);
    REQUIRE(waitpid(pid, &status, 0) == pid && status == 0, "status %x", (unsigned)status);
}

static void spawn(void)
{
    char *const arguments[] = {"true", NULL};
    pid_t pid = -1;
    int error = posix_spawnp(&pid, "true", NULL, NULL, arguments, environ);
    REQUIRE(error == 0, "posix_spawnp: error %d", error);
    expect_success(pid);
    FILE *stream = popen("true", "r");
    REQUIRE(stream && pclose(stream) == 0, "popen");
}

static void fork_in_place(void)
{
    pid_t pid = vfork();
    if (pid == 0) {
        work(7);
        execlp("true", "true", (char *)NULL);
        _exit(1);
    }
    expect_success(pid);
}

static int clone_child(void *argument)
{
    work(9);
    execlp("true", "true", (char *)NULL);
    (void)argument;
    _exit(1);
}

static void clone_in_place(void)
{
    char *stack = malloc(STACK_BYTES);
    REQUIRE(stack, "no stack");
    expect_success(
        clone(clone_child, stack + STACK_BYTES, CLONE_VM | CLONE_VFORK | SIGCHLD, NULL));
    free(stack);
}

/* The last of many: the others are called before. */
static void say_last(void)
{
    work(1);
    ssize_t ignored = write(STDOUT_FILENO, "last\n", 5);
    (void)ignored;
}

static void allocate_at_exit(void)
{
    work(2);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        work(3);
        _exit(0);
    }
    int status = -1;
    if (pid < 0 || waitpid(pid, &status, 0) != pid || status) {
        _exit(5);
    }
}

int main(int count, char **arguments)
{
    require_hz3();
    const char *what = count > 1 ? arguments[1] : "";
    alarm(200);
    pthread_t threads[THREADS];
    for (size_t i = 0; i < THREADS; i++) {
        REQUIRE(pthread_create(&threads[i], NULL, run, NULL) == 0, "pthread_create");
    }
    int quickly = strcmp(what, "quick") == 0;
    if (quickly || strcmp(what, "exit") == 0) {
        int (*at)(void (*)(void)) = quickly ? at_quick_exit : atexit;
        at(say_last);
        for (int i = 0; i < 10; i++) {
            at(allocate_at_exit);
        }
        work(0);
        quickly ? quick_exit(0) : exit(0);
    }
    void (*start)(void) = strcmp(what, "spawn") == 0   ? spawn
                          : strcmp(what, "vfork") == 0 ? fork_in_place
                          : strcmp(what, "clone") == 0 ? clone_in_place
                                                       : NULL;
    REQUIRE(start, "no such way");
    for (int turn = 0; turn < TURNS; turn++) {
        start();
        work((size_t)turn);
    }
    __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
    for (size_t i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    return finish();
}
