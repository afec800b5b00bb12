// Watches the probes otel_memory:alloc and otel_memory:free as a tracer does: finds their notes in
// the library's file, raises their semaphores, and puts breakpoints on them.
#define _GNU_SOURCE
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <ucontext.h>
#include <unistd.h>

#include "check.h"

#define BLOCKS 400000
#define BLOCK_BYTES 200
#define EVENTS 4096

#if defined(__x86_64__)
typedef uint8_t code;
#define PROBE ((code)0x90)
#define BREAKPOINT ((code)0xcc)
static const char *const places[] = {"8@%rdi 8@%rsi 8@%rdx", "8@%rdi"};
#else
typedef uint32_t code;
#define PROBE ((code)0xd503201f)
#define BREAKPOINT ((code)0xd4200000)
static const char *const places[] = {"8@x0 8@x1 8@x2", "8@x0"};
#endif

// The probes `alloc` and `free`.
static const char *const names[] = {"alloc", "free"};
static code *probes[2];
static volatile uint16_t *semaphores[2];

// What the probes reported. The handler must not allocate.
static struct event {
    uintptr_t pointer, size, weight;
    // The innermost return address, and how many there are, by the frame pointer.
    uintptr_t caller, depth;
} events[2][EVENTS];
static size_t counts[2];
static size_t strangers;

// Where the program's code is.
extern const char __executable_start[], etext[];

#define EXPECT(condition) REQUIRE(condition, "%zu allocated, %zu freed", counts[0], counts[1])

// Follows frame pointers, as a tracer in the kernel does.
static void walk(struct event *event, const uintptr_t *frame) {
    for (; frame; frame = (const uintptr_t *)frame[0])
        if (++event->depth == 1)
            event->caller = frame[1];
}

static void handle(int number, siginfo_t *info, void *context) {
    (void)number, (void)info;
    mcontext_t *machine = &((ucontext_t *)context)->uc_mcontext;
#if defined(__x86_64__)
    code *at = (code *)machine->gregs[REG_RIP] - 1;
    struct event event = {machine->gregs[REG_RDI], machine->gregs[REG_RSI],
                          machine->gregs[REG_RDX], 0, 0};
    const uintptr_t *frame = (const uintptr_t *)machine->gregs[REG_RBP];
#else
    code *at = (code *)machine->pc;
    machine->pc += sizeof(code);
    struct event event = {machine->regs[0], machine->regs[1], machine->regs[2], 0, 0};
    const uintptr_t *frame = (const uintptr_t *)machine->regs[29];
#endif
    int which = at == probes[0] ? 0 : 1;
    if (which == 0)
        walk(&event, frame);
    if (at != probes[which] || counts[which] == EVENTS)
        strangers++;
    else
        events[which][counts[which]++] = event;
}

static int find_library(struct dl_phdr_info *info, size_t size, void *found) {
    (void)size;
    if (!strstr(info->dlpi_name, "libhz3"))
        return 0;
    *(struct dl_phdr_info *)found = *info;
    return 1;
}

// Reads one note and remembers the probe that it describes.
static void note(uintptr_t base, const char *description) {
    uint64_t addresses[3];
    memcpy(addresses, description, sizeof addresses);
    const char *provider = description + sizeof addresses;
    const char *name = provider + strlen(provider) + 1;
    const char *arguments = name + strlen(name) + 1;
    if (strcmp(provider, "otel_memory") != 0)
        return;
    int which = strcmp(name, names[0]) == 0 ? 0 : 1;
    EXPECT(strcmp(name, names[which]) == 0);
    EXPECT(strcmp(arguments, places[which]) == 0);
    EXPECT(!probes[which]);
    probes[which] = (code *)(base + addresses[0]);
    semaphores[which] = (volatile uint16_t *)(base + addresses[2]);
}

static void find_probes(void) {
    struct dl_phdr_info library = {0};
    EXPECT(dl_iterate_phdr(find_library, &library));
    int file = open(library.dlpi_name, O_RDONLY);
    struct stat status;
    EXPECT(file >= 0 && fstat(file, &status) == 0);
    const char *start = mmap(NULL, status.st_size, PROT_READ, MAP_PRIVATE, file, 0);
    EXPECT(start != MAP_FAILED);
    const Elf64_Ehdr *header = (const Elf64_Ehdr *)start;
    const Elf64_Shdr *sections = (const Elf64_Shdr *)(start + header->e_shoff);
    const char *section_names = start + sections[header->e_shstrndx].sh_offset;
    for (int index = 0; index < header->e_shnum; index++) {
        if (strcmp(section_names + sections[index].sh_name, ".note.stapsdt") != 0)
            continue;
        const char *at = start + sections[index].sh_offset;
        const char *end = at + sections[index].sh_size;
        while (at < end) {
            const Elf64_Nhdr *found = (const Elf64_Nhdr *)at;
            const char *description = (const char *)(found + 1) + ((found->n_namesz + 3) & ~3u);
            note(library.dlpi_addr, description);
            at = description + ((found->n_descsz + 3) & ~3u);
        }
    }
    EXPECT(probes[0] && probes[1]);
}

static void set_breakpoints(void) {
    struct sigaction action = {.sa_sigaction = handle, .sa_flags = SA_SIGINFO};
    EXPECT(sigaction(SIGTRAP, &action, NULL) == 0);
    for (int which = 0; which < 2; which++) {
        uintptr_t page = (uintptr_t)probes[which] & -(uintptr_t)sysconf(_SC_PAGESIZE);
        size_t bytes = (uintptr_t)(probes[which] + 1) - page;
        EXPECT(mprotect((void *)page, bytes, PROT_READ | PROT_WRITE | PROT_EXEC) == 0);
        EXPECT(*probes[which] == PROBE);
        *probes[which] = BREAKPOINT;
        __builtin___clear_cache((char *)probes[which], (char *)(probes[which] + 1));
    }
}

// Allocates and frees, and checks that each reported block is the one that malloc returns.
static void work(void **blocks) {
    for (int index = 0; index < BLOCKS; index++) {
        size_t before = counts[0];
        blocks[index] = malloc(BLOCK_BYTES);
        EXPECT(blocks[index]);
        if (counts[0] != before) {
            EXPECT(counts[0] == before + 1);
            EXPECT(events[0][before].pointer == (uintptr_t)blocks[index]);
            EXPECT(events[0][before].size == BLOCK_BYTES);
            EXPECT(events[0][before].caller > (uintptr_t)__executable_start);
            EXPECT(events[0][before].caller < (uintptr_t)etext);
            EXPECT(events[0][before].depth > 1 && events[0][before].depth <= 64);
        }
    }
    for (int index = 0; index < BLOCKS; index++) {
        size_t before = counts[1];
        uintptr_t pointer = (uintptr_t)blocks[index];
        free(blocks[index]);
        EXPECT(counts[1] == before || events[1][before].pointer == pointer);
    }
}

int main(void) {
    require_hz3();
    void **blocks = calloc(BLOCKS, sizeof *blocks);
    EXPECT(blocks);
    find_probes();
    set_breakpoints();

    // Nobody watches.
    EXPECT(*semaphores[0] == 0 && *semaphores[1] == 0);
    work(blocks);
    EXPECT(counts[0] == 0 && counts[1] == 0);

    // 80 MB with a sample every 512 KiB on average: 150 samples.
    ++*semaphores[0], ++*semaphores[1];
    work(blocks);
    EXPECT(counts[0] > 50 && counts[0] < 450);
    EXPECT(counts[1] == counts[0]);
    double weight = 0;
    for (size_t index = 0; index < counts[0]; index++)
        weight += events[0][index].weight;
    double expected = (double)BLOCKS * BLOCK_BYTES;
    EXPECT(weight > expected / 2 && weight < expected * 2);

    // Nobody watches any more.
    --*semaphores[0], --*semaphores[1];
    size_t last = counts[0];
    work(blocks);
    EXPECT(counts[0] == last && counts[1] == last);
    EXPECT(strangers == 0);
    free(blocks);
    return finish();
}
