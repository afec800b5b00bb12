/* A parent reads the statistics page of its child, and asks it for an update. The child does not
   stop for it. */
#define _GNU_SOURCE
#include "check.h"

#include <signal.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define BLOCKS 20000

/* The head of the page: see crates/hz3/src/thread/page.rs. */
struct head {
    char magic[8];
    uint32_t version, bytes, sequence, pid, names_at, name_bytes, values_at, values, classes_at,
        classes, class_words, threads_at, threads, thread_words, request_at, unused;
};

struct request {
    uint32_t answered, number;
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
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    return finish();
}
