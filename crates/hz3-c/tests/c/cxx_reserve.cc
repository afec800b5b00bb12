// Under a memory limit: if the handler frees a reserve, does the waiting `new` succeed?
#include "check.h"
#include <new>
#include <vector>

static char *reserve;
static int calls;

static void release()
{
    calls++;
    if (!reserve) {
        throw std::bad_alloc();
    }
    delete[] reserve;
    reserve = nullptr;
}

template <bool quiet> static void exhaust()
{
    reserve = new char[64 << 20];
    memset(reserve, 1, 64 << 20);
    calls = 0;
    std::set_new_handler(release);
    std::vector<char *> held;
    held.reserve(100000);
    bool ended = false;
    while (!ended && held.size() < 100000) {
        try {
            char *block = quiet ? new (std::nothrow) char[1 << 20] : new char[1 << 20];
            if (block) {
                memset(block, 1, 1 << 20);
                held.push_back(block);
            } else {
                ended = true;
            }
        } catch (const std::bad_alloc &) {
            CHECK(!quiet, "a nothrow new threw");
            ended = true;
        }
    }
    CHECK(ended && calls == 2, "%d calls of the handler, %zu blocks", calls, held.size());
    std::set_new_handler(nullptr);
    CHECK(held.size() > 50, "only %zu MiB", held.size());
    for (char *block : held) {
        delete[] block;
    }
    char *again = new (std::nothrow) char[64 << 20];
    CHECK(again, "memory did not come back");
    delete[] again;
}

int main()
{
    require_hz3();
    exhaust<false>();
    exhaust<true>();
    return finish();
}
