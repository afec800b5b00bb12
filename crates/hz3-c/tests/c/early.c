/* Does allocation work before the first constructor, in constructors, and after main: in atexit
 * handlers, destructors, and those of a library that comes and goes? */
#include "check.h"
#include <dlfcn.h>
#include <unistd.h>

static char *blocks[4];

static void work(void)
{
    for (size_t size = 1; size < 200000; size = size * 3 + 1) {
        char *block = malloc(size), *zeroed = calloc(size, 1);
        REQUIRE(block && zeroed && !zeroed[size - 1], "size %zu", size);
        fill(block, size, size);
        block = realloc(block, size * 2);
        REQUIRE(intact(block, size, size) == size, "size %zu", size);
        free(zeroed);
        free(block);
    }
}

static void keep(int index)
{
    work();
    blocks[index] = malloc(1000 + index);
    fill(blocks[index], 1000, index);
}

static void release(int index)
{
    work();
    if (intact(blocks[index], 1000, index) != 1000) {
        static const char text[] = "a block from before main was overwritten\n";
        if (write(2, text, sizeof text - 1) > 0) {
            _exit(1);
        }
    }
    free(blocks[index]);
}

static void before_constructors(int argc, char **argv, char **environment)
{
    (void)argc, (void)argv, (void)environment;
    keep(0);
}

#ifdef DYNAMIC
typedef void Start(int, char **, char **);
__attribute__((section(".preinit_array"), used)) static Start *preinit = before_constructors;
#else
__attribute__((constructor(101))) static void preinit(void) { before_constructors(0, NULL, NULL); }
#endif

__attribute__((constructor(102))) static void early_constructor(void) { keep(1); }
__attribute__((constructor)) static void constructor(void) { keep(2); }
__attribute__((destructor)) static void destructor(void) { release(0); }
__attribute__((destructor(101))) static void late_destructor(void)
{
    release(1);
    static const char text[] = "last\n";
    if (write(1, text, sizeof text - 1) < 0) {
        _exit(1);
    }
}

static void first_atexit(void) { release(2); }
static void second_atexit(void) { work(); }

int main(int argc, char **argv)
{
    require_hz3();
    keep(3);
    release(3);
    atexit(first_atexit);
    atexit(second_atexit);
    if (argc == 2) {
        void *library = dlopen(argv[1], RTLD_NOW);
        REQUIRE(library, "%s", dlerror());
        char *(*take)(void) = (char *(*)(void))dlsym(library, "early_take");
        REQUIRE(take, "%s", dlerror());
        char *block = take();
        REQUIRE(intact(block, 500, 9) == 500, "the library's block was overwritten");
        dlclose(library);
        REQUIRE(intact(block, 500, 9) == 500, "the library's block went with it");
        free(block);
        /* Opened again and left open, so that its destructor runs at exit. */
        REQUIRE(dlopen(argv[1], RTLD_NOW), "%s", dlerror());
    }
    int status = finish();
    fflush(stdout);
    return status;
}
