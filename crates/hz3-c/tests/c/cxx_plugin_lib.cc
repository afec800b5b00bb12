// A plugin in C++ for a program in C: it loads the C++ runtime privately.
#include <new>
#include <string>

static volatile size_t impossible = size_t(1) << 60;
static int calls;

static void leaving()
{
    calls++;
    std::set_new_handler(nullptr);
}

static void throwing() { throw std::string(100, 't'); }

extern "C" int plugin_result()
{
    int result = 0;
    try {
        ::operator new(impossible);
    } catch (const std::bad_alloc &) {
        result |= 1;
    }
    std::set_new_handler(leaving);
    try {
        ::operator new[](impossible);
    } catch (const std::bad_alloc &) {
        result |= calls == 1 ? 2 : 0;
    }
    std::set_new_handler(throwing);
    result |= ::operator new(impossible, std::nothrow) ? 0 : 4;
    return result;
}
