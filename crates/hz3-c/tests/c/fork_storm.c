/* One thread forks while other threads make one kind of call, which allocates while it holds a lock
 * of the C library. Does every fork return, and can every child allocate, make the same call, and
 * exit?
 *
 *     fork_storm CALL [FORKS]
 *
 * If no fork completes for a minute, every thread reports where it waits. */
#include "check.h"
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <grp.h>
#include <iconv.h>
#include <libintl.h>
#include <locale.h>
#include <netdb.h>
#include <pthread.h>
#include <pwd.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

enum { PATIENCE = 60, MOST_THREADS = 4 };

static int stop;
static FILE *lines;

static void getline_once(unsigned turn)
{
    (void)turn;
    char *line = NULL;
    size_t size = 0;
    rewind(lines);
    CHECK(getline(&line, &size, lines) > 100000, "no line");
    free(line);
}

static void flush_all(unsigned turn)
{
    (void)turn;
    fflush(NULL);
}

static void open_and_close(unsigned turn)
{
    char text[100];
    FILE *file = turn % 2 ? fopen("/dev/null", "w") : fmemopen(text, sizeof text, "w");
    CHECK(file && fprintf(file, "%u", turn) > 0, "no stream");
    fclose(file);
}

static void pipe_open(unsigned turn)
{
    (void)turn;
    FILE *file = popen(":", "r");
    CHECK(file, "popen: errno %d", errno);
    if (file) {
        pclose(file);
    }
}

/* The C library keeps every pair that was ever set, so only some thousands differ. */
static void environment(unsigned turn)
{
    char name[32], value[2000];
    snprintf(name, sizeof name, "STORM_%u", turn % 20);
    memset(value, 'v', sizeof value);
    value[turn % 97 * 20 + 1] = 0;
    CHECK(setenv(name, value, 1) == 0, "setenv: errno %d", errno);
    if (turn % 3 == 0) {
        unsetenv(name);
    }
}

static void locales(unsigned turn)
{
    locale_t made = newlocale(LC_ALL_MASK, turn % 2 ? "C.UTF-8" : "C", NULL);
    CHECK(made, "newlocale: errno %d", errno);
    freelocale(made);
    setlocale(LC_ALL, turn % 2 ? "C" : "C.UTF-8");
}

static void messages(unsigned turn)
{
    char name[32];
    snprintf(name, sizeof name, "storm-%u", turn);
    bindtextdomain(name, "/nonexistent");
    dgettext(name, "text");
}

static void conversions(unsigned turn)
{
    iconv_t made = iconv_open(turn % 2 ? "UTF-16" : "ISO-8859-1", "UTF-8");
    if (made != (iconv_t)-1) {
        iconv_close(made);
    }
}

static void libraries(unsigned turn)
{
    void *library = dlopen(turn % 2 ? "libutil.so.1" : "libnss_compat.so.2", RTLD_NOW);
    if (library) {
        dlclose(library);
    } else {
        dlerror();
    }
}

static void nothing(void)
{
}

/* The list of handlers has no bound, so the number of these calls is limited. */
static void exit_handlers(unsigned turn)
{
    if (turn < 5000) {
        CHECK(atexit(nothing) == 0, "atexit");
    }
}

/* Every fork runs all registered handlers. */
static void fork_handlers(unsigned turn)
{
    if (turn < 300) {
        CHECK(pthread_atfork(nothing, nothing, nothing) == 0, "pthread_atfork");
    } else {
        free(malloc(turn % 100000));
    }
}

static void *end_at_once(void *argument)
{
    return argument;
}

static void threads(unsigned turn)
{
    pthread_t thread;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, (64 + turn % 8 * 64) << 10);
    CHECK(pthread_create(&thread, &attributes, end_at_once, NULL) == 0, "pthread_create");
    pthread_attr_destroy(&attributes);
    pthread_join(thread, NULL);
}

static void keys(unsigned turn)
{
    pthread_key_t made[60];
    for (int i = 0; i < 60; i++) {
        CHECK(pthread_key_create(&made[i], free) == 0, "pthread_key_create");
        pthread_setspecific(made[i], malloc(turn % 3000));
    }
    for (int i = 0; i < 60; i++) {
        free(pthread_getspecific(made[i]));
        pthread_key_delete(made[i]);
    }
}

static void users(unsigned turn)
{
    struct passwd *user = getpwuid(0);
    (void)user;
    getgrnam(turn % 2 ? "root" : "no such group");
}

static void hosts(unsigned turn)
{
    struct addrinfo *found = NULL;
    if (getaddrinfo(turn % 2 ? "127.0.0.1" : "localhost", "80", NULL, &found) == 0) {
        freeaddrinfo(found);
    }
}

static void zones(unsigned turn)
{
    static const char *const names[] = {"UTC", "Europe/Berlin", "EST5EDT", "nowhere"};
    time_t now = turn;
    struct tm parts;
    setenv("TZ", names[turn % 4], 1);
    tzset();
    localtime_r(&now, &parts);
}

static void directories(unsigned turn)
{
    (void)turn;
    DIR *directory = opendir("/");
    CHECK(directory && readdir(directory), "opendir: errno %d", errno);
    closedir(directory);
}

static void logs(unsigned turn)
{
    openlog(turn % 2 ? "storm" : "another", LOG_PID, LOG_USER);
    syslog(LOG_DEBUG, "%1000u", turn);
    closelog();
}

typedef void call_function(unsigned);

/* The calls of one storm, one thread each. */
static const struct storm {
    const char *name;
    call_function *calls[MOST_THREADS];
} storms[] = {
    {"stdio", {getline_once, flush_all, open_and_close}},
    {"popen", {pipe_open, flush_all}},
    {"environment", {environment, environment}},
    {"locale", {locales, locales}},
    {"messages", {messages, locales}},
    {"iconv", {conversions, conversions}},
    {"loader", {libraries, libraries, flush_all}},
    {"exit-handlers", {exit_handlers, exit_handlers}},
    {"fork-handlers", {fork_handlers, libraries}},
    {"threads", {threads, threads}},
    {"keys", {keys, keys}},
    {"users", {users, users}},
    {"hosts", {hosts, hosts}},
    {"zones", {zones, zones}},
    {"directories", {directories, logs}},
};

static void *run(void *argument)
{
    call_function *call = (call_function *)argument;
    for (unsigned turn = 0; !__atomic_load_n(&stop, __ATOMIC_RELAXED); turn++) {
        call(turn);
    }
    return NULL;
}

/* Writes where this thread waits. */
static void on_question(int signal)
{
    (void)signal;
    void *frames[40];
    char text[64];
    int length = snprintf(text, sizeof text, "thread %ld:\n", syscall(SYS_gettid));
    ssize_t ignored = write(STDERR_FILENO, text, (size_t)length);
    (void)ignored;
    backtrace_symbols_fd(frames, backtrace(frames, 40), STDERR_FILENO);
}

static void on_alarm(int signal)
{
    (void)signal;
    static const char said[] = "nothing went on; the threads stand here:\n";
    ssize_t ignored = write(STDERR_FILENO, said, sizeof said - 1);
    (void)ignored;
    /* The ids of the threads closely follow that of the process. */
    for (int thread = getpid(); thread < getpid() + 10000; thread++) {
        if (syscall(SYS_tgkill, getpid(), thread, SIGUSR1) == 0) {
            nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
        }
    }
    _exit(9);
}

/* Makes, in a child, every call that the parent's threads may have been inside. */
static int child(const struct storm *storm, unsigned turn)
{
    alarm(PATIENCE);
    void *blocks[64];
    for (size_t i = 0; i < 64; i++) {
        blocks[i] = malloc(i * i * 20);
        if (!blocks[i]) {
            return 2;
        }
    }
    for (size_t i = 0; i < 64; i++) {
        free(blocks[i]);
    }
    /* POSIX allows only exec here; but the calls that the C library repairs in a child must work.
     * */
    if (storm->calls[0] == getline_once) {
        open_and_close(turn);
        fflush(NULL);
    }
    return 0;
}

int main(int count, char **arguments)
{
    require_hz3();
    const struct storm *storm = NULL;
    for (size_t i = 0; count > 1 && i < sizeof storms / sizeof *storms; i++) {
        if (strcmp(arguments[1], storms[i].name) == 0) {
            storm = &storms[i];
        }
    }
    REQUIRE(storm, "no such storm");
    unsigned forks = count > 2 ? (unsigned)atoi(arguments[2]) : 300;
    /* backtrace loads its library at the first call. */
    void *frame;
    backtrace(&frame, 1);
    signal(SIGALRM, on_alarm);
    signal(SIGUSR1, on_question);
    lines = tmpfile();
    REQUIRE(lines, "tmpfile: errno %d", errno);
    for (int i = 0; i < 200000; i++) {
        fputc('x', lines);
    }
    fputc('\n', lines);
    /* A child that inherited unwritten text would write it at the offset that it shares with us. */
    fflush(lines);
    pthread_t others[MOST_THREADS];
    for (int i = 0; i < MOST_THREADS && storm->calls[i]; i++) {
        pthread_create(&others[i], NULL, run, (void *)storm->calls[i]);
    }
    for (unsigned turn = 0; turn < forks; turn++) {
        alarm(PATIENCE);
        pid_t pid = fork();
        if (pid == 0) {
            _exit(child(storm, turn));
        }
        int status = -1;
        REQUIRE(pid > 0 && waitpid(pid, &status, 0) == pid, "fork %u: errno %d", turn, errno);
        REQUIRE(status == 0, "child %u: status %x", turn, (unsigned)status);
        free(malloc(turn * 200));
    }
    __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
    for (int i = 0; i < MOST_THREADS && storm->calls[i]; i++) {
        pthread_join(others[i], NULL);
    }
    return finish();
}
