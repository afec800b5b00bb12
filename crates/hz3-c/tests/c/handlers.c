/* Signal handlers interrupt malloc or free and make calls that POSIX forbids there, as crash
 * reporters and old servers do. Does every handler return, and is the heap intact afterwards?
 *
 *     handlers abort WHAT     hz3 finds a fault; the handler of SIGABRT does WHAT
 *     handlers exit SIZE      SIGTERM interrupts blocks of up to SIZE bytes and calls exit
 *     handlers fork [FORKS]   a timer interrupts allocations and forks
 */
#include "check.h"
#include <errno.h>
#include <execinfo.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void say(const char *text)
{
    ssize_t ignored = write(STDOUT_FILENO, text, strlen(text));
    (void)ignored;
}

/* Allocates, resizes and checks blocks of many sizes; returns whether all were right. */
static int allocate(size_t most)
{
    char *blocks[60];
    int right = 1;
    for (size_t i = 0; i < 60; i++) {
        size_t size = i * most / 60 + 1;
        blocks[i] = i % 3 == 0 ? calloc(1, size) : malloc(size);
        right = right && blocks[i] && malloc_usable_size(blocks[i]) >= size;
        right = right && (i % 3 || intact("", 0, 0) == 0) && (uintptr_t)blocks[i] % 16 == 0;
        fill(blocks[i], size, i);
    }
    for (size_t i = 0; i < 60; i++) {
        size_t size = i * most / 60 + 1;
        blocks[i] = realloc(blocks[i], size * 2);
        right = right && blocks[i] && intact(blocks[i], size, i) == size;
    }
    for (size_t i = 0; i < 60; i++) {
        free(blocks[i]);
    }
    void *aligned = NULL;
    right = right && posix_memalign(&aligned, 4096, 100) == 0 && (uintptr_t)aligned % 4096 == 0;
    free(aligned);
    return right;
}

static int fork_and_wait(void)
{
    pid_t pid = fork();
    if (pid == 0) {
        _exit(allocate(60000) ? 0 : 2);
    }
    int status = -1;
    return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

static int execute(void)
{
    pid_t pid = fork();
    if (pid == 0) {
        execl("/bin/true", "true", (char *)NULL);
        _exit(3);
    }
    int status = -1;
    return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

static char *of_before;
static const char *what;

static void on_abort(int signal)
{
    (void)signal;
    int right = 0;
    if (strcmp(what, "allocate") == 0) {
        right = allocate(1000);
    } else if (strcmp(what, "large") == 0) {
        right = allocate(3000000);
    } else if (strcmp(what, "fork") == 0) {
        right = fork_and_wait() && fork_and_wait();
    } else if (strcmp(what, "execute") == 0) {
        right = execute();
    } else if (strcmp(what, "print") == 0) {
        right = fprintf(stderr, "%s", "") == 0 && fflush(NULL) == 0;
    } else if (strcmp(what, "backtrace") == 0) {
        void *frames[20];
        char **names = backtrace_symbols(frames, backtrace(frames, 20));
        right = names != NULL;
        free(names);
    } else if (strcmp(what, "free") == 0) {
        of_before = realloc(of_before, 100000);
        right = of_before && intact(of_before, 3000, 7) == 3000;
        free(of_before);
    } else if (strcmp(what, "exit") == 0) {
        say("reported\n");
        exit(3);
    }
    say(right ? "reported\n" : "not right\n");
    _exit(3);
}

/* Frees a block twice in such a way that only the flush of a batch finds it, under its locks. */
static void free_twice(void)
{
    enum { BLOCKS = 8 };
    void *blocks[BLOCKS];
    for (int i = 0; i < BLOCKS; i++) {
        blocks[i] = malloc(200);
    }
    for (int i = 0; i < BLOCKS; i++) {
        free(blocks[i]);
    }
    free(blocks[0]);
    malloc_trim(0);
}

static void find_fault(void)
{
    of_before = malloc(3000);
    fill(of_before, 3000, 7);
    /* Both allocate at their first use. */
    void *frame;
    backtrace(&frame, 1);
    fprintf(stderr, "%s", "");
    signal(SIGABRT, on_abort);
    free_twice();
    say("nothing was found\n");
}

static void churn(unsigned *seed, size_t most, int steps)
{
    static _Thread_local char *kept[32];
    static _Thread_local size_t sizes[32];
    for (int i = 0; i < steps; i++) {
        *seed = *seed * 1103515245 + 12345;
        unsigned pick = *seed >> 8, slot = pick % 32;
        CHECK(intact(kept[slot], sizes[slot], slot) == sizes[slot], "a block was overwritten");
        free(kept[slot]);
        size_t size = pick / 32 % most + 1;
        kept[slot] = malloc(size);
        CHECK(kept[slot], "no memory");
        sizes[slot] = size < 64 ? size : 64;
        fill(kept[slot], sizes[slot], slot);
    }
}

static void on_term(int signal)
{
    (void)signal;
    exit(5);
}

static void at_exit(void)
{
    if (!allocate(3000)) {
        _exit(6);
    }
}

/* Sends SIGTERM to children while they allocate. */
static void exit_in_handlers(size_t most)
{
    for (unsigned turn = 0; turn < 150; turn++) {
        pid_t pid = fork();
        if (pid == 0) {
            unsigned seed = turn;
            atexit(at_exit);
            signal(SIGTERM, on_term);
            kill(getppid(), SIGUSR1);
            for (;;) {
                churn(&seed, most, 100);
            }
        }
        int number, status = -1;
        sigset_t ready;
        sigemptyset(&ready);
        sigaddset(&ready, SIGUSR1);
        sigwait(&ready, &number);
        for (volatile unsigned i = 0; i < turn * 2000; i++) {
        }
        kill(pid, SIGTERM);
        alarm(60);
        REQUIRE(waitpid(pid, &status, 0) == pid, "turn %u: errno %d", turn, errno);
        REQUIRE(WIFEXITED(status) && WEXITSTATUS(status) == 5, "turn %u: status %x", turn, status);
    }
}

static unsigned forks_left, forks_failed;

static void on_timer(int signal)
{
    (void)signal;
    int kept = errno;
    if (forks_left > 0) {
        forks_left--;
        forks_failed += !(forks_left % 2 ? fork_and_wait() : execute());
    }
    errno = kept;
}

static void *beside(void *argument)
{
    unsigned seed = 99;
    while (__atomic_load_n((unsigned *)argument, __ATOMIC_RELAXED) > 0) {
        churn(&seed, 3000, 100);
    }
    return NULL;
}

static void fork_in_handlers(unsigned forks)
{
    forks_left = forks;
    pthread_t thread;
    /* The timer's signals come here: the other thread blocks them. */
    sigset_t timer;
    sigemptyset(&timer);
    sigaddset(&timer, SIGALRM);
    pthread_sigmask(SIG_BLOCK, &timer, NULL);
    pthread_create(&thread, NULL, beside, &forks_left);
    signal(SIGALRM, on_timer);
    pthread_sigmask(SIG_UNBLOCK, &timer, NULL);
    struct itimerval often = {{0, 1500}, {0, 1500}};
    setitimer(ITIMER_REAL, &often, NULL);
    /* Nearly all of the time goes into slow paths. */
    unsigned seed = 1, turn = 0;
    while (__atomic_load_n(&forks_left, __ATOMIC_RELAXED) > 0) {
        void *blocks[8];
        for (int i = 0; i < 8; i++) {
            blocks[i] = malloc(33000 + i * 5000);
        }
        for (int i = 0; i < 8; i++) {
            free(blocks[i]);
        }
        if (turn++ % 64 == 0) {
            churn(&seed, 100000, 20);
        }
    }
    setitimer(ITIMER_REAL, &(struct itimerval){0}, NULL);
    pthread_join(thread, NULL);
    CHECK(forks_failed == 0, "%u children failed", forks_failed);
}

int main(int count, char **arguments)
{
    require_hz3();
    REQUIRE(count > 1, "what is to be done?");
    what = count > 2 ? arguments[2] : "";
    if (strcmp(arguments[1], "abort") == 0) {
        find_fault();
        return 1;
    }
    if (strcmp(arguments[1], "exit") == 0) {
        sigset_t ready;
        sigemptyset(&ready);
        sigaddset(&ready, SIGUSR1);
        sigprocmask(SIG_BLOCK, &ready, NULL);
        exit_in_handlers((size_t)atoi(what));
    } else {
        fork_in_handlers(count > 2 ? (unsigned)atoi(what) : 100);
    }
    return finish();
}
