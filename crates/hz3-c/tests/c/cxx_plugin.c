/* A program in C loads a plugin in C++, privately: does its operator new find the C++ runtime? */
#include "check.h"
#include <dlfcn.h>

int main(int argc, char **argv)
{
    require_hz3();
    REQUIRE(argc == 2, "no plugin named");
    REQUIRE(!dlsym(RTLD_DEFAULT, "_ZSt17__throw_bad_allocv"), "the C++ runtime is there already");
    void *plugin = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
    REQUIRE(plugin, "%s", dlerror());
    int (*result)(void) = (int (*)(void))dlsym(plugin, "plugin_result");
    REQUIRE(result, "%s", dlerror());
    int got = result();
    CHECK(got == 7, "result %d", got);
    return finish();
}
