/* What can a program notice of the reclaimer? In a process without threads nothing; in a process
 * with threads one known thread while there is work. Each mode also passes on the C library's
 * malloc. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

enum { BLOCKS = 600, BYTES = 65536 };

/* Touches 40 MiB and frees them. */
static void burst(void)
{
    static char *blocks[BLOCKS];
    for (int i = 0; i < BLOCKS; i++) {
        blocks[i] = memset(malloc(BYTES), 1, BYTES);
    }
    for (int i = 0; i < BLOCKS; i++) {
        free(blocks[i]);
    }
}

/* Calls `visit` with the id and the name of each thread of this process. Allocates nothing. */
static int each_thread(void (*visit)(int task, const char *name))
{
    char entries[4096];
    int count = 0, directory = open("/proc/self/task", O_RDONLY | O_DIRECTORY);
    for (long length; (length = syscall(SYS_getdents64, directory, entries, sizeof entries)) > 0;) {
        for (char *at = entries; at < entries + length; at += *(unsigned short *)(at + 16)) {
            int task = atoi(at + 19);
            char path[64], name[32] = "";
            if (task) {
                snprintf(path, sizeof path, "/proc/self/task/%d/comm", task);
                int file = open(path, O_RDONLY);
                if (read(file, name, sizeof name - 1) < 0) {
                    name[0] = 0;
                }
                close(file);
                name[strcspn(name, "\n")] = 0;
                count++;
                if (visit) {
                    visit(task, name);
                }
            }
        }
    }
    close(directory);
    return count;
}

static int reclaimer;

static void note_reclaimer(int task, const char *name)
{
    if (!strcmp(name, "hz3-reclaimer")) {
        reclaimer = task;
    }
}

/* Returns the id of the reclaimer's thread; 0 if there is none. */
static int find_reclaimer(void)
{
    reclaimer = 0;
    each_thread(note_reclaimer);
    return reclaimer;
}

/* A thread that has a cache and waits until `close_pipe`. */
static int gate[2];

static void *stand_by(void *unused)
{
    char byte;
    (void)unused;
    free(malloc(100));
    CHECK(read(gate[0], &byte, 1) == 0, "the pipe is still open");
    return NULL;
}

static pthread_t start_bystander(void)
{
    pthread_t thread;
    REQUIRE(pipe(gate) == 0, "no pipe");
    REQUIRE(pthread_create(&thread, NULL, stand_by, NULL) == 0, "no thread");
    return thread;
}

/* In a process with threads: works until the reclaimer's thread runs. Other mallocs have none. */
static void wait_for_the_reclaimer(void)
{
    for (int i = 0; hz3_collect && !find_reclaimer() && i < 6000; i++) {
        burst();
        usleep(10000);
    }
    CHECK(!hz3_collect || reclaimer, "there is no reclaimer");
}

static void alone(void)
{
    for (int i = 0; i < 20; i++) {
        burst();
        usleep(20000);
        CHECK(each_thread(NULL) == 1, "round %d: a second thread", i);
    }
}

/* Returns the resident set of this process, in bytes. */
static long long resident(void)
{
    char text[128] = "";
    long long all = 0, pages = 0;
    int file = open("/proc/self/statm", O_RDONLY);
    CHECK(read(file, text, sizeof text - 1) > 0, "statm");
    close(file);
    CHECK(sscanf(text, "%lld %lld", &all, &pages) == 2, "statm: %s", text);
    return pages * sysconf(_SC_PAGESIZE);
}

static unsigned long long random_state = 1;

static unsigned long long next_random(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    return random_state ^= random_state << 17;
}

/* Fills and frees `count` blocks of `least` to `most` bytes, in order, backwards, or at random.
 * Without a thread and without waiting, at most 12 MiB more are resident after the last free than
 * before the first allocation. */
static void free_all(size_t count, size_t least, size_t most, int order)
{
    char **blocks = mmap(NULL, count * sizeof *blocks, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    long long before = resident();
    for (size_t i = 0; i < count; i++) {
        size_t bytes = least + next_random() % (most - least + 1);
        blocks[i] = memset(malloc(bytes), 1, bytes);
    }
    for (size_t i = count - 1; order == 2 && i > 0; i--) {
        size_t other = next_random() % (i + 1);
        char *block = blocks[i];
        blocks[i] = blocks[other];
        blocks[other] = block;
    }
    long long peak = resident();
    for (size_t i = 0; i < count; i++) {
        free(blocks[order == 1 ? count - 1 - i : i]);
    }
    long long after = resident();
    CHECK(!hz3_collect || after - before <= 12 << 20,
          "%zu blocks of %zu to %zu, order %d: %lld KiB before, %lld at the peak, %lld after", count,
          least, most, order, before >> 10, peak >> 10, after >> 10);
    munmap(blocks, count * sizeof *blocks);
}

/* Runs each burst in its own process. After several bursts without a pause the allocator would keep
 * memory for the next one. */
static void bound(void)
{
    static const struct {
        size_t count, least, most;
    } bursts[] = {{60000, 256, 4096}, {1000000, 16, 96}, {6000, 4096, 40000}, {100, 40000, 3000000}};
    for (size_t i = 0; i < 3 * sizeof bursts / sizeof *bursts; i++) {
        int status;
        pid_t child = fork();
        if (!child) {
            free_all(bursts[i / 3].count, bursts[i / 3].least, bursts[i / 3].most, (int)(i % 3));
            _exit(check_failures != 0);
        }
        REQUIRE(waitpid(child, &status, 0) == child, "errno %d", errno);
        CHECK(status == 0, "status %x", status);
    }
}

/* Ends only the calling thread. */
static void end_the_thread(const char *way)
{
    if (!strcmp(way, "exit")) {
        syscall(SYS_exit, 0);
    } else if (!strcmp(way, "strict")) {
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT);
    } else {
        struct sock_filter filter[] = {
            BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
            BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_THREAD),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        };
        struct sock_fprog program = {4, filter};
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program);
    }
    syscall(SYS_getppid);
    _exit(77);
}

/* Checks that a supervisor learns when its worker's only thread ends; otherwise waits for ever. */
static void supervise(const char *way)
{
    int status;
    pid_t worker = fork();
    if (!worker) {
        burst();
        usleep(200000);
        end_the_thread(way);
    }
    REQUIRE(waitpid(worker, &status, 0) == worker, "errno %d", errno);
    CHECK(!WIFEXITED(status) || WEXITSTATUS(status) == 0, "%s: status %x", way, status);
}

/* Makes, in a child, the calls that need a process without threads. Returns the errors as bits. */
static int enter_namespaces(int bursts)
{
    int status;
    pid_t child = fork();
    if (!child) {
        int own = open("/proc/self/ns/mnt", O_RDONLY), errors = 0;
        if (bursts) {
            burst();
            usleep(200000);
        }
        errors |= setns(own, CLONE_NEWNS) != 0;
        errors |= (unshare(CLONE_NEWUSER) != 0) << 1;
        _exit(errors);
    }
    REQUIRE(waitpid(child, &status, 0) == child && WIFEXITED(status), "status %x", status);
    return WEXITSTATUS(status);
}

static void namespaces(void)
{
    int without = enter_namespaces(0), with = enter_namespaces(1);
    CHECK(with == without, "errors %d, and %d without a burst", with, without);
}

static int privileged;

static void check_credentials(int task, const char *name)
{
    char path[64], status[4096], *line;
    snprintf(path, sizeof path, "/proc/self/task/%d/status", task);
    int file = open(path, O_RDONLY);
    ssize_t length = read(file, status, sizeof status - 1);
    close(file);
    status[length < 0 ? 0 : length] = 0;
    line = strstr(status, "\nUid:");
    unsigned uid = 0;
    if (line && sscanf(line, "\nUid: %u", &uid) == 1 && uid != 65534) {
        privileged++;
        fprintf(stderr, "task %d, %s, has uid %u\n", task, name, uid);
    }
}

/* setuid reaches every thread, the reclaimer as well. */
static void credentials(void)
{
    pthread_t bystander = start_bystander();
    wait_for_the_reclaimer();
    REQUIRE(getuid() == 0, "this test runs as root");
    REQUIRE(setuid(65534) == 0, "errno %d", errno);
    each_thread(check_credentials);
    CHECK(privileged == 0, "%d tasks kept their rights", privileged);
    close(gate[1]);
    pthread_join(bystander, NULL);
}

/* The only thread gets its own table of files and closes a pipe: the reader sees the end. */
static void files(void)
{
    char byte;
    int ends[2], status;
    REQUIRE(pipe(ends) == 0, "no pipe");
    pid_t child = fork();
    if (!child) {
        close(ends[0]);
        burst();
        usleep(200000);
        unshare(CLONE_FILES);
        close(ends[1]);
        pause();
    }
    close(ends[1]);
    CHECK(read(ends[0], &byte, 1) == 0, "a byte from nowhere");
    kill(child, SIGKILL);
    waitpid(child, &status, 0);
}

/* A real-time thread on one CPU starts the reclaimer, which has ordinary priority on all CPUs. */
static void real_time(void)
{
    cpu_set_t all, one;
    struct sched_param priority = {50};
    sched_getaffinity(0, sizeof all, &all);
    free(malloc(100));
    pthread_t bystander = start_bystander();
    CPU_ZERO(&one);
    for (int cpu = 0; CPU_COUNT(&one) == 0; cpu++) {
        if (CPU_ISSET(cpu, &all)) {
            CPU_SET(cpu, &one);
        }
    }
    sched_setaffinity(0, sizeof one, &one);
    REQUIRE(sched_setscheduler(0, SCHED_FIFO, &priority) == 0, "errno %d", errno);
    wait_for_the_reclaimer();
    if (reclaimer) {
        sched_getaffinity(reclaimer, sizeof one, &one);
        CHECK(sched_getscheduler(reclaimer) == SCHED_OTHER, "it is real-time too");
        CHECK(CPU_EQUAL(&one, &all), "it has %d CPUs of %d", CPU_COUNT(&one), CPU_COUNT(&all));
    }
    close(gate[1]);
    pthread_join(bystander, NULL);
}

/* The reclaimer's thread ends when it has nothing to do; a new one starts when there is work. */
static void comes_and_goes(void)
{
    pthread_t bystander = start_bystander();
    for (int round = 0; round < 3; round++) {
        wait_for_the_reclaimer();
        for (int i = 0; find_reclaimer() && i < 6000; i++) {
            usleep(10000);
        }
        CHECK(!reclaimer, "round %d: it stays", round);
    }
    close(gate[1]);
    pthread_join(bystander, NULL);
}

/* A hook on madvise, as RDMA libraries install it. */
static long long announced;
static int hook_allocates;

int madvise(void *start, size_t length, int advice)
{
    if (advice == MADV_DONTNEED) {
        __atomic_fetch_add(&announced, (long long)length, __ATOMIC_RELAXED);
    }
    if (hook_allocates) {
        free(malloc(1000));
        free(malloc(100000));
    }
    return (int)syscall(SYS_madvise, start, length, advice);
}

static void hooks(void)
{
    hook_allocates = 1;
    for (int i = 0; i < 20; i++) {
        burst();
    }
    pthread_t bystander = start_bystander();
    wait_for_the_reclaimer();
    if (hz3_collect) {
        hz3_collect();
        long long purged = statistic("purged_bytes");
        CHECK(purged > BLOCKS * BYTES / 2, "%lld bytes purged", purged);
        CHECK(announced >= purged, "%lld bytes announced of %lld", announced, purged);
    }
    close(gate[1]);
    pthread_join(bystander, NULL);
}

static void *do_nothing(void *argument)
{
    void (*volatile give_back)(void *) = free;
    if (argument) {
        give_back(NULL);
    }
    return NULL;
}

/* Threads that allocate nothing leave nothing. */
static void idlers(void)
{
    pthread_t thread;
    free(malloc(100));
    long long before = hz3_collect ? statistic("metadata") : 0;
    for (size_t i = 0; i < 2000; i++) {
        REQUIRE(pthread_create(&thread, NULL, do_nothing, (void *)(i % 2)) == 0, "no thread");
        pthread_join(thread, NULL);
    }
    long long after = hz3_collect ? statistic("metadata") : 0;
    CHECK(after == before, "%lld bytes of metadata, then %lld", before, after);
}

/* A child of vfork shares the memory: it must neither start a reclaimer nor prevent one. */
static void borrowed(void)
{
    pthread_t bystander = start_bystander();
    int status;
    pid_t child = vfork();
    if (!child) {
        burst();
        _exit(0);
    }
    REQUIRE(waitpid(child, &status, 0) == child && status == 0, "status %x", status);
    wait_for_the_reclaimer();
    close(gate[1]);
    pthread_join(bystander, NULL);
}

/* A child of a bare fork, in which no handler ran, gives its memory back. */
static void bare_fork(void)
{
    pthread_t bystander = start_bystander();
    int status;
    wait_for_the_reclaimer();
    pid_t child = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (!child) {
        long long purged = hz3_collect ? statistic("purged_bytes") : 0;
        for (int i = 0; hz3_collect && statistic("purged_bytes") == purged && i < 6000; i++) {
            burst();
            usleep(10000);
        }
        _exit(hz3_collect && statistic("purged_bytes") == purged);
    }
    REQUIRE(waitpid(child, &status, 0) == child && status == 0, "status %x", status);
    close(gate[1]);
    pthread_join(bystander, NULL);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } ways[] = {
        {"alone", alone},         {"namespaces", namespaces}, {"credentials", credentials},
        {"files", files},         {"real-time", real_time},   {"comes-and-goes", comes_and_goes},
        {"hooks", hooks},         {"idlers", idlers},         {"borrowed", borrowed},
        {"bare-fork", bare_fork}, {"bound", bound},
    };
    int done = 0;
    REQUIRE(argc == 2, "no way named");
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        if (!strcmp(argv[1], ways[i].name)) {
            ways[i].run();
            done = 1;
        }
    }
    if (!strcmp(argv[1], "exit") || !strcmp(argv[1], "filter") || !strcmp(argv[1], "strict")) {
        supervise(argv[1]);
        done = 1;
    }
    REQUIRE(done, "unknown way %s", argv[1]);
    return finish();
}
