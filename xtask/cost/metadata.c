/* 1 GiB in blocks of 64 bytes, each touched; then what the allocator says of itself, as JSON. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

enum { SIZE = 64 };

int main(void) {
    size_t blocks = ((size_t)1 << 30) / SIZE;
    for (size_t i = 0; i < blocks; i++) {
        volatile char *block = malloc(SIZE);
        if (!block) return 3;
        *block = 1;
    }
    size_t (*json)(char *, size_t) = (size_t (*)(char *, size_t))dlsym(RTLD_DEFAULT, "hz3_stats_json");
    if (!json) {
        fputs("the allocator has no hz3_stats_json\n", stderr);
        return 4;
    }
    char text[4096];
    if (json(text, sizeof text) >= sizeof text) return 5;
    puts(text);
    return 0;
}
