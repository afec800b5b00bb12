/* Misuses a guarded block in the way that the argument names; the environment makes every block a
 * sample. Without a report the program prints "missed". Other arguments handle SIGSEGV. */
#include "check.h"
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

extern void *_Znwm(size_t) __attribute__((weak));
extern void _ZdlPvm(void *, size_t) __attribute__((weak));

/* Of so many blocks at least one ends its place, and one begins it. */
enum { MANY = 64, SIZE = 96 };

static volatile char sink;
static char *volatile blocks[MANY];

static void *of_malloc(size_t size)
{
    return malloc(size);
}

static void *of_calloc(size_t size)
{
    return calloc(3, size / 3);
}

static void *of_memalign(size_t size)
{
    return memalign(SIZE / 3, size);
}

static void *of_new(size_t size)
{
    return _Znwm(size);
}

static void read_at(void *(*allocate)(size_t), long offset)
{
    for (int i = 0; i < MANY; i++) {
        blocks[i] = allocate(SIZE);
        sink = blocks[i][offset];
    }
}

static void write_at(void *(*allocate)(size_t), long offset)
{
    for (int i = 0; i < MANY; i++) {
        blocks[i] = allocate(SIZE);
        blocks[i][offset] = 1;
    }
}

static char *freed_block(void)
{
    char *block = malloc(SIZE);
    free(block);
    return block;
}

static void caught(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)context;
    _exit(info->si_addr == (void *)8 ? 7 : info->si_code == SI_TKILL ? 8 : 9);
}

static struct sigaction handle(void)
{
    struct sigaction action = {.sa_sigaction = caught, .sa_flags = SA_SIGINFO}, old;
    free(malloc(SIZE)); /* before the program's handler, */
    sigaction(SIGSEGV, &action, &old);
    free(malloc(SIZE)); /* and after it, the guards install theirs */
    return old;
}

static void fault(void)
{
    sink = *(char *volatile)8;
}

static void *misuse_in_thread(void *block)
{
    sink = *(char *)block;
    return NULL;
}

int main(int count, char **arguments)
{
    const char *abuse = count > 1 ? arguments[1] : "";
    char *volatile block;
    if (strcmp(abuse, "overflow-read") == 0) {
        read_at(of_malloc, SIZE);
    } else if (strcmp(abuse, "overflow-write") == 0) {
        write_at(of_malloc, SIZE);
    } else if (strcmp(abuse, "overflow-far") == 0) {
        sink = ((char *volatile)malloc(SIZE))[SIZE + 5000];
    } else if (strcmp(abuse, "underflow") == 0) {
        write_at(of_malloc, -1);
    } else if (strcmp(abuse, "freed-read") == 0) {
        sink = freed_block()[5];
    } else if (strcmp(abuse, "freed-write") == 0) {
        freed_block()[5] = 1;
    } else if (strcmp(abuse, "freed-elsewhere") == 0) {
        pthread_t thread;
        pthread_create(&thread, NULL, misuse_in_thread, freed_block());
        pthread_join(thread, NULL);
    } else if (strcmp(abuse, "double-free") == 0) {
        free(freed_block());
    } else if (strcmp(abuse, "interior-free") == 0) {
        block = malloc(SIZE);
        free(block + 16);
    } else if (strcmp(abuse, "realloc-freed") == 0) {
        block = realloc(freed_block(), 10);
    } else if (strcmp(abuse, "size-of-freed") == 0) {
        sink = malloc_usable_size(freed_block());
    } else if (strcmp(abuse, "moved") == 0) {
        block = malloc(SIZE);
        char *volatile moved = realloc(block, 2 * SIZE);
        sink = moved[2 * SIZE - 1];
        sink = block[5];
    } else if (strcmp(abuse, "calloc") == 0) {
        read_at(of_calloc, SIZE);
    } else if (strcmp(abuse, "aligned") == 0) {
        write_at(of_memalign, SIZE);
    } else if (strcmp(abuse, "sized") == 0) {
        _ZdlPvm(_Znwm(SIZE), SIZE);
        write_at(of_new, SIZE);
    } else if (strcmp(abuse, "slack") == 0) {
        block = malloc(SIZE - 3);
        block[SIZE - 3] = 0;
        free(block);
    } else if (strcmp(abuse, "slack-before") == 0) {
        for (int i = 0; i < MANY; i++) {
            /* A block that begins its place faults at once. */
            block = malloc(SIZE);
            if ((uintptr_t)block % 4096 != 0) {
                block[-1] = 0;
                free(block);
            }
        }
    } else if (strcmp(abuse, "fault") == 0) {
        free(malloc(SIZE));
        fault();
    } else if (strcmp(abuse, "handled-fault") == 0) {
        handle();
        fault();
    } else if (strcmp(abuse, "handled-signal") == 0) {
        handle();
        raise(SIGSEGV);
    } else if (strcmp(abuse, "handled-misuse") == 0) {
        handle();
        sink = freed_block()[5];
    } else if (strcmp(abuse, "restored") == 0) {
        struct sigaction old = handle();
        sigaction(SIGSEGV, &old, NULL);
        fault();
    } else {
        CHECK(0, "no such argument: %s", abuse);
        return finish();
    }
    puts("missed");
    return 0;
}
