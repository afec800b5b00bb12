/* The process forks while its threads allocate: can the children allocate, start threads, fork
 * again and end? */
#include "check.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 8, FORKS = 200 };

static int stop;
static void *exchange[64];

static void churn(unsigned *seed, int steps)
{
    for (int i = 0; i < steps; i++) {
        *seed = *seed * 1103515245 + 12345;
        unsigned pick = *seed >> 8;
        size_t size = pick % 64 == 0 ? pick % 3000000 : pick % 16 == 0 ? pick % 60000 : pick % 1500;
        char *block = malloc(size + 1);
        block[0] = block[size] = 1;
        /* The next thread frees it, so blocks move between threads. */
        free(__atomic_exchange_n(&exchange[pick % 64], block, __ATOMIC_ACQ_REL));
    }
}

static void *run(void *argument)
{
    unsigned seed = (unsigned)(uintptr_t)argument;
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
        churn(&seed, 100);
    }
    return NULL;
}

static void *run_briefly(void *argument)
{
    unsigned seed = (unsigned)(uintptr_t)argument;
    churn(&seed, 300);
    return NULL;
}

/* The current step of the process, for the report of a hang. */
static const char *volatile doing = "nothing";

static void say(const char *text)
{
    ssize_t ignored = write(STDERR_FILENO, text, strlen(text));
    (void)ignored;
}

/* Writes for each thread of this process the system call in which it waits, with its arguments, or
 * that it runs. Allocates nothing. The ids of the threads closely follow that of the process. */
static void on_alarm(int signal)
{
    (void)signal;
    char text[256], path[64];
    snprintf(text, sizeof text, "process %d of parent %d hangs: %s\n", getpid(), getppid(), doing);
    say(text);
    for (int thread = getpid(); thread < getpid() + 1000; thread++) {
        snprintf(path, sizeof path, "/proc/self/task/%d/syscall", thread);
        int file = open(path, O_RDONLY);
        ssize_t length = file < 0 ? -1 : read(file, text, sizeof text - 1);
        if (length > 0) {
            text[length] = 0;
            snprintf(path, sizeof path, "thread %d: ", thread);
            say(path);
            say(text);
        }
        close(file);
    }
    _exit(9);
}

/* Runs in a child; the exit status is the number of the step that failed. */
static int child(unsigned seed, int generation)
{
    pthread_t threads[3];
    /* A child that hangs reports where, and its parent reports that it did. A fork clears the
     * alarm. */
    alarm(generation == 0 ? 120 : 60);
    doing = "it allocates";
    churn(&seed, 500);
    doing = "it starts threads";
    for (uintptr_t i = 0; i < 3; i++) {
        if (pthread_create(&threads[i], NULL, run_briefly, (void *)(seed + i))) {
            return 2;
        }
    }
    if (generation == 0) {
        doing = "it forks";
        /* The grandchild forks while the child's own threads run. */
        pid_t grandchild = fork();
        if (grandchild == 0) {
            _exit(child(seed + 7, 1));
        }
        int status;
        doing = "it waits for its child";
        if (grandchild < 0 || waitpid(grandchild, &status, 0) != grandchild || status) {
            return 3;
        }
    }
    doing = "it waits for its threads";
    for (int i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
    }
    doing = "it collects";
    hz3_collect();
    doing = "it allocates again";
    churn(&seed, 100);
    return 0;
}

int main(void)
{
    require_hz3();
    signal(SIGALRM, on_alarm);
    pthread_t threads[THREADS];
    for (uintptr_t i = 0; i < THREADS; i++) {
        pthread_create(&threads[i], NULL, run, (void *)(i + 1));
    }
    for (int i = 0; i < FORKS; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            _exit(child((unsigned)i * 77, 0));
        }
        int status = -1;
        REQUIRE(pid > 0 && waitpid(pid, &status, 0) == pid, "fork %d: errno %d", i, errno);
        REQUIRE(status == 0, "child %d: status %x", i, (unsigned)status);
        /* The parent allocates too: after each fork its own cache must be whole. */
        unsigned seed = (unsigned)i;
        churn(&seed, 50);
    }
    __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    return finish();
}
