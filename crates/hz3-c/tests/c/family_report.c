/* Do mallinfo, malloc_info, malloc_stats, mallopt, malloc_trim and hz3's own calls answer
 * sensibly? */
#define _GNU_SOURCE
#include "check.h"
#include "hz3.h"
#include <errno.h>
#include <malloc.h>
#include <sys/resource.h>
#include <unistd.h>

/* Weak, because the library is preloaded and not linked. */
extern void hz3_epoch_force(void) __attribute__((weak));
extern const char *hz3_version(void) __attribute__((weak));

#define MIB ((size_t)1 << 20)

static void infos(void)
{
    struct mallinfo2 before = mallinfo2();
    char *block = malloc(100 * MIB);
    memset(block, 1, 100 * MIB);
    struct mallinfo2 during = mallinfo2();
    struct mallinfo narrow = mallinfo();
    CHECK(during.uordblks - before.uordblks >= 100 * MIB, "%zu, then %zu", before.uordblks,
          during.uordblks);
    CHECK(during.arena == during.uordblks + during.fordblks, "%zu %zu %zu", during.arena,
          during.uordblks, during.fordblks);
    CHECK(narrow.uordblks >= (int)(100 * MIB), "%d", narrow.uordblks);
    CHECK(during.hblks == 0 && during.hblkhd == 0, "%zu %zu", during.hblks, during.hblkhd);
    free(block);
    struct mallinfo2 after = mallinfo2();
    /* That free may have started the reclaimer's thread, which has a few bytes of its own. */
    CHECK(after.uordblks + 99 * MIB <= during.uordblks, "%zu, then %zu", during.uordblks,
          after.uordblks);
}

static void xml(void)
{
    char *text = NULL;
    size_t length = 0;
    FILE *stream = open_memstream(&text, &length);
    errno = 77;
    CHECK(malloc_info(1, stream) == EINVAL, "options 1");
    CHECK(malloc_info(-1, stream) == EINVAL, "options -1");
    CHECK(errno == 77, "errno %d", errno);
    fflush(stream);
    CHECK(length == 0, "a refused malloc_info wrote %zu bytes", length);
    CHECK(malloc_info(0, stream) == 0, "options 0");
    fclose(stream);
    CHECK(strncmp(text, "<malloc version=\"1\">\n", 21) == 0, "starts with: %s", text);
    CHECK(length > 10 && strcmp(text + length - 10, "</malloc>\n") == 0, "ends with: %s", text);
    CHECK(strstr(text, "<heap nr=\"0\">") && strstr(text, "<system type=\"current\" size=\""),
          "%s", text);
    free(text);
    FILE *full = fopen("/dev/full", "w");
    setvbuf(full, NULL, _IONBF, 0);
    CHECK(malloc_info(0, full) == EIO, "a stream that takes nothing");
    fclose(full);
}

/* malloc_stats writes to descriptor 2, which is a pipe meanwhile. */
static void stats(void)
{
    char text[2048];
    int ends[2], kept = dup(2);
    REQUIRE(pipe(ends) == 0, "pipe");
    dup2(ends[1], 2);
    long long requests = statistic("requests");
    malloc_stats();
    long long after = statistic("requests");
    dup2(kept, 2);
    close(ends[1]);
    ssize_t length = read(ends[0], text, sizeof text - 1);
    close(ends[0]);
    close(kept);
    text[length < 0 ? 0 : length] = 0;
    CHECK(strstr(text, "system bytes") && strstr(text, "in use bytes"), "malloc_stats wrote: %s",
          text);
    CHECK(strstr(text, "\nmax mmap bytes"), "malloc_stats wrote: %s", text);
    CHECK(strstr(text, "shared pages") && strstr(text, "\nresident bytes"), "malloc_stats wrote: %s",
          text);
    CHECK(requests > 0, "HZ3_COUNT=1 counts nothing: %lld", requests);
    CHECK(requests == after, "malloc_stats allocates: %lld calls", after - requests);
}

static void options(void)
{
    errno = 77;
    for (int parameter = -8; parameter <= -1; parameter++) {
        CHECK(mallopt(parameter, 1) == 1, "parameter %d", parameter);
    }
    CHECK(mallopt(M_MXFAST, 64) == 1, "M_MXFAST");
    CHECK(mallopt(12345, 1) == 0 && mallopt(-9, 1) == 0 && mallopt(0, 0) == 0,
          "unknown parameters");
    CHECK(errno == 77, "errno %d", errno);
}

/* The statistics read files, which cannot be opened without a free descriptor. */
static void without_descriptors(void)
{
    static char text[4096];
    struct rlimit before;
    struct rlimit none;
    getrlimit(RLIMIT_NOFILE, &before);
    none = before;
    none.rlim_cur = 0;
    FILE *sink = fopen("/dev/null", "w");
    REQUIRE(sink && setrlimit(RLIMIT_NOFILE, &none) == 0, "no limit");
    errno = 77;
    hz3_stats_json(text, sizeof text);
    CHECK(errno == 77, "errno %d after hz3_stats_json", errno);
    errno = 77;
    mallinfo2();
    CHECK(errno == 77, "errno %d after mallinfo2", errno);
    errno = 77;
    malloc_info(0, sink);
    CHECK(errno == 77, "errno %d after malloc_info", errno);
    setrlimit(RLIMIT_NOFILE, &before);
    fclose(sink);
}

/* Returns the bytes of free pages that may be resident. */
static long long free_bytes(void)
{
    char all[4096];
    hz3_stats_json(all, sizeof all);
    return value_in(all, "dirty");
}

static void trim(void)
{
    enum { COUNT = 4000 };
    static char *blocks[COUNT];
    for (int i = 0; i < COUNT; i++) {
        blocks[i] = malloc(10000);
        memset(blocks[i], 1, 10000);
    }
    for (int i = 0; i < COUNT; i++) {
        free(blocks[i]);
    }
    errno = 77;
    CHECK(malloc_trim(0) == 1, "40 MB were free, and nothing was given back");
    CHECK(malloc_trim(0) == 0, "given back twice");
    CHECK(errno == 77, "errno %d", errno);
    for (int i = 0; i < COUNT; i++) {
        blocks[i] = malloc(10000);
        memset(blocks[i], 1, 10000);
    }
    for (int i = 0; i < COUNT; i++) {
        free(blocks[i]);
    }
    CHECK(malloc_trim(16 * MIB) == 1, "40 MB were free, and nothing was given back");
    long long left = free_bytes();
    CHECK(left > 15 * (long long)MIB && left <= 16 * (long long)MIB, "%lld bytes kept", left);
    CHECK(malloc_trim(16 * MIB) == 0, "given back beyond the pad");
    CHECK(malloc_trim(0) == 1 && free_bytes() == 0, "%lld bytes left", free_bytes());
    for (int i = 0; i < COUNT; i++) {
        blocks[i] = malloc(10000);
        memset(blocks[i], 1, 10000);
    }
    for (int i = 0; i < COUNT; i++) {
        free(blocks[i]);
    }
    size_t given = hz3_collect();
    CHECK(given >= 35 * MIB, "hz3_collect gave back %zu", given);
    hz3_epoch_force();
    CHECK(errno == 77, "errno %d", errno);
}

static void json(void)
{
    char all[4096], cut[20], *live = malloc(100);
    memset(cut, 'x', sizeof cut);
    CHECK(strcmp(hz3_version(), HZ3_VERSION) == 0, "library %s, header %s", hz3_version(), HZ3_VERSION);
    size_t length = hz3_stats_json(NULL, 0);
    CHECK(length > 50 && length < sizeof all, "length %zu", length);
    size_t again = hz3_stats_json(all, sizeof all);
    CHECK(strlen(all) == again, "%zu written, %zu returned", strlen(all), again);
    CHECK(all[0] == '{' && all[again - 1] == '}' && !strchr(all, '\n'), "%s", all);
    hz3_stats_json(cut, 10);
    CHECK(memcmp(cut, all, 9) == 0 && cut[9] == 0 && cut[10] == 'x', "a buffer of 10 bytes: %.20s",
          cut);
    hz3_stats_json(cut, 1);
    CHECK(cut[0] == 0 && cut[1] == all[1], "a buffer of 1 byte: %.20s", cut);
    CHECK(hz3_stats_json(NULL, 1) > 50, "no buffer");
    memset(all, 'x', sizeof all);
    size_t last = hz3_stats_json(all, SIZE_MAX);
    CHECK(strlen(all) == last, "a buffer without an end: %zu, %zu", strlen(all), last);
    /* The sums hold within one answer. */
    long long active = value_in(all, "active"), committed = value_in(all, "committed");
    long long held = value_in(all, "allocated") + value_in(all, "cached") + value_in(all, "slack");
    CHECK(active > 0 && active == held, "%s", all);
    CHECK(committed == active + value_in(all, "dirty") + value_in(all, "retained"), "%s", all);
    CHECK(value_in(all, "resident") > 1 << 20, "%s", all);
    CHECK(value_in(all, "cached") == value_in(all, "cached_running") + value_in(all, "cached_idle")
              + value_in(all, "cached_transfer"), "%s", all);
    CHECK(value_in(all, "slack") == value_in(all, "slack_shared") + value_in(all, "slack_holes")
              + value_in(all, "slack_clean"), "%s", all);
    CHECK(value_in(all, "dirty") == value_in(all, "dirty_young") + value_in(all, "dirty_old"), "%s",
          all);
    long long metadata = value_in(all, "metadata_resident");
    CHECK(metadata > 0 && metadata <= value_in(all, "metadata"), "%s", all);
    CHECK(value_in(all, "peak_active") >= 100 * (long long)MIB, "%s", all);
    free(live);
}

int main(void)
{
    require_hz3();
    infos();
    xml();
    stats();
    options();
    without_descriptors();
    trim();
    json();
    return finish();
}
