/* A parent reads the statistics page of its child, and asks it for an update. The child does not
   stop for it. */
#define _GNU_SOURCE
#include "check.h"

#include <errno.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define BLOCKS 20000

extern int hz3_set(const char *, const char *) __attribute__((weak));

/* The head of the page: see crates/hz3/src/thread/stats_page.rs. */
struct head {
    char magic[8];
    uint32_t version, bytes, sequence, pid, names_at, name_bytes, values_at, values, classes_at,
        classes, class_words, threads_at, threads, thread_words, request_at, command_bytes;
};

struct request {
    uint32_t answered, number, hash, answer;
    char command[112];
};

static char page[1 << 16];
void *kept[BLOCKS];

static const struct head *head(void)
{
    return (const struct head *)page;
}

static size_t transfer(pid_t pid, void *local, uintptr_t remote, size_t bytes, int writes)
{
    struct iovec here = { local, bytes }, there = { (void *)remote, bytes };
    ssize_t done = writes ? process_vm_writev(pid, &here, 1, &there, 1, 0)
                          : process_vm_readv(pid, &here, 1, &there, 1, 0);
    return done < 0 ? 0 : (size_t)done;
}

/* The page's address in a process: a small mapping of its own that starts with the magic. */
static uintptr_t find(pid_t pid)
{
    char path[64], line[512];
    uintptr_t found = 0;
    snprintf(path, sizeof path, "/proc/%d/maps", pid);
    FILE *maps = fopen(path, "r");
    REQUIRE(maps, "no %s", path);
    while (fgets(line, sizeof line, maps)) {
        unsigned long start, end;
        char magic[8];
        if (sscanf(line, "%lx-%lx rw-p", &start, &end) == 2 && strstr(line, " rw-p ")
            && end - start <= sizeof page && transfer(pid, magic, start, 8, 0) == 8
            && !memcmp(magic, "hz3stats", 8)) {
            found = start;
        }
    }
    fclose(maps);
    return found;
}

static void copy(pid_t pid, uintptr_t at)
{
    uint32_t after;
    uintptr_t sequence = at + offsetof(struct head, sequence);
    do {
        REQUIRE(transfer(pid, page, at, sizeof(struct head), 0), "the page is not there");
        REQUIRE(head()->bytes <= sizeof page, "%u bytes", head()->bytes);
        REQUIRE(transfer(pid, page, at, head()->bytes, 0) == head()->bytes, "a short copy");
        REQUIRE(transfer(pid, &after, sequence, sizeof after, 0), "the page is not there");
    } while (after != head()->sequence || after % 2);
}

static uint64_t value(const char *name)
{
    const char *at = page + head()->names_at;
    const uint64_t *values = (const uint64_t *)(page + head()->values_at);
    for (uint32_t i = 0; i < head()->values; i++, at += strlen(at) + 1) {
        if (!strcmp(at, name)) {
            return values[i];
        }
    }
    REQUIRE(0, "the page has no %s", name);
    return 0;
}

/* Asks for an update, and waits until the child's next slow path has made it. */
static void ask(pid_t pid, uintptr_t at, uint32_t number)
{
    uintptr_t request = at + head()->request_at;
    uint32_t answered;
    REQUIRE(transfer(pid, &number, request + offsetof(struct request, number), 4, 1), "no write");
    do {
        REQUIRE(transfer(pid, &answered, request, 4, 0), "the child ended");
    } while (answered != number);
}

/* Sends a command, and returns the answer. */
static uint32_t command(pid_t pid, uintptr_t at, uint32_t number, const char *text, uint32_t change)
{
    uintptr_t request = at + head()->request_at;
    uint32_t hash = 0x811c9dc5u, answer;
    for (const char *c = text; *c; c++) {
        hash = (hash ^ (uint8_t)*c) * 0x01000193u;
    }
    hash ^= change;
    transfer(pid, (void *)text, request + offsetof(struct request, command), strlen(text) + 1, 1);
    transfer(pid, &hash, request + offsetof(struct request, hash), 4, 1);
    ask(pid, at, number);
    REQUIRE(transfer(pid, &answer, request + offsetof(struct request, answer), 4, 0), "no answer");
    return answer;
}

static void child(int ready)
{
    for (int i = 0; i < BLOCKS; i++) {
        kept[i] = malloc(100);
    }
    if (write(ready, "x", 1) != 1) {
        exit(1);
    }
    /* More than a cache holds: slow paths, which update the page now and again. */
    for (;;) {
        void *some[5000];
        for (int i = 0; i < 5000; i++) {
            some[i] = malloc(3000);
        }
        for (int i = 0; i < 5000; i++) {
            free(some[i]);
        }
    }
}

int main(void)
{
    int ready[2];
    char byte;
    REQUIRE(hz3_collect, "hz3 is not loaded");
    free(malloc(1));
    CHECK(hz3_set("tick_ms", "125") == 0 && hz3_set("purge", "now") == 0, "an option is refused");
    CHECK(hz3_set("tick_ms", "60001") == EINVAL && hz3_set("limit_mode", "") == EINVAL, "a value");
    CHECK(hz3_set("arena", "1G") == ENOENT && hz3_set(NULL, "1") == EINVAL, "a name");
    REQUIRE(pipe(ready) == 0, "pipe");
    pid_t pid = fork();
    if (pid == 0) {
        child(ready[1]);
    }
    REQUIRE(read(ready[0], &byte, 1) == 1, "the child ended");
    uintptr_t at;
    while (!(at = find(pid))) {
        /* The child maps the page in one of its first slow paths. */
    }
    copy(pid, at);
    ask(pid, at, 77);
    copy(pid, at);
    CHECK(head()->version == 1 && head()->pid == (uint32_t)pid, "written by %u", head()->pid);

    uint64_t used = 0, cached = 0, sum = 0;
    for (uint32_t i = 0; i < head()->classes; i++) {
        const uint64_t *row = (const uint64_t *)(page + head()->classes_at)
            + (size_t)i * head()->class_words;
        if (row[0] == 112) {
            used = row[2];
            cached = row[3];
        }
        sum += row[0] * (row[2] - row[3]);
    }
    CHECK(used - cached >= BLOCKS && used - cached < BLOCKS + 2000, "%llu used, %llu cached",
          (unsigned long long)used, (unsigned long long)cached);
    CHECK(sum + value("large") == value("allocated"), "classes %llu, large %llu, allocated %llu",
          (unsigned long long)sum, (unsigned long long)value("large"),
          (unsigned long long)value("allocated"));
    CHECK(value("slow_ns") == value("updated_ns"), "the request updates all figures");
    CHECK(value("threads_shown") == 1, "%llu threads", (unsigned long long)value("threads_shown"));
    const uint64_t *thread = (const uint64_t *)(page + head()->threads_at);
    CHECK(thread[0] == (uint64_t)pid && thread[3] > 0, "thread %llu with %llu slow paths",
          (unsigned long long)thread[0], (unsigned long long)thread[3]);
    uint64_t first = value("updates");
    ask(pid, at, 78);
    copy(pid, at);
    CHECK(value("updates") > first, "no further update");

    CHECK(command(pid, at, 79, "tick_ms=50", 0) == 1, "tick_ms=50 is refused");
    copy(pid, at);
    CHECK(value("tick_ms") == 50, "a tick of %llu ms", (unsigned long long)value("tick_ms"));
    CHECK(command(pid, at, 80, "tick_ms=0", 0) == 3, "0 is no tick");
    CHECK(command(pid, at, 81, "tack_ms=1", 0) == 2, "there is no tack");
    CHECK(command(pid, at, 82, "tick_ms=99", 1) == 5, "the hash is wrong");
    CHECK(command(pid, at, 83, "limit=3G", 0) == 1, "a limit is refused");
    CHECK(command(pid, at, 84, "purge=now", 0) == 1, "the purge is refused");
    copy(pid, at);
    CHECK(value("tick_ms") == 50 && value("limit") == 3ull << 30, "limit %llu",
          (unsigned long long)value("limit"));
    CHECK(command(pid, at, 85, "policy=off", 0) == 1, "the policy is refused");
    copy(pid, at);
    CHECK(value("reclaimer") == 0, "%llu gives memory back", (unsigned long long)value("reclaimer"));
    CHECK(command(pid, at, 86, "policy=default", 0) == 1, "the policy is refused");
    copy(pid, at);
    CHECK(value("reclaimer") != 0, "nothing gives memory back");
    CHECK(command(pid, at, 87, "policy=s64", 0) == 3, "an experiment starts");
    char path[64];
    snprintf(path, sizeof path, "profile_path=/tmp/hz3-page-%%p-%d", (int)getpid());
    CHECK(command(pid, at, 88, "profile=write", 0) == 4, "a profile without a path");
    CHECK(command(pid, at, 89, path, 0) == 1, "the path is refused");
    CHECK(command(pid, at, 90, "profile=write", 0) == 4, "a profile before the start");
    CHECK(command(pid, at, 101, "profile_to=/tmp/x", 0) == 4, "a profile before the start");
    CHECK(command(pid, at, 91, "profile_rate=10K", 0) == 1, "the rate is refused");
    CHECK(command(pid, at, 92, "profile_rate=0", 0) == 3, "0 is no rate");
    CHECK(command(pid, at, 93, "profile=on", 0) == 1, "the profile does not start");
    CHECK(command(pid, at, 94, "profile_rate=4K", 0) == 1, "the rate is refused");
    CHECK(command(pid, at, 95, "profile=yes", 0) == 3, "yes is not on");
    CHECK(command(pid, at, 96, "profile=write", 0) == 1, "the profile is not written");
    snprintf(path, sizeof path, "/tmp/hz3-page-%d-%d", (int)pid, (int)getpid());
    CHECK(unlink(path) == 0, "no %s", path);
    CHECK(command(pid, at, 97, "profile=off", 0) == 1, "the profile does not end");
    char to[80];
    snprintf(to, sizeof to, "profile_to=%s", path);
    CHECK(command(pid, at, 98, to, 0) == 1, "a profile that ended is not written");
    struct stat file = {0};
    CHECK(stat(path, &file) == 0 && (file.st_mode & 0777) == 0600, "mode %o", file.st_mode);
    CHECK(unlink(path) == 0, "no %s", path);
    CHECK(command(pid, at, 99, "profile_to=here", 0) == 3, "a relative path");
    CHECK(command(pid, at, 100, "profile_to=/nonexistent/x", 0) == 3, "no directory");
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    return finish();
}
