// A program with its own plain operators, which put a header before each block: do all other forms
// call them, as the standard requires? (Otherwise the program frees blocks without a header.)
#include "check.h"
#include <algorithm>
#include <new>
#include <vector>

static const size_t MAGIC = 0x5eed5eed5eed5eed;
static volatile size_t impossible = size_t(1) << 60;
static long live;

void *operator new(size_t size)
{
    size_t *block = size >= impossible ? nullptr : static_cast<size_t *>(malloc(size + 16));
    if (!block) {
        throw std::bad_alloc();
    }
    block[0] = MAGIC;
    live++;
    return block + 2;
}

void operator delete(void *pointer) noexcept
{
    if (pointer) {
        size_t *block = static_cast<size_t *>(pointer) - 2;
        REQUIRE(block[0] == MAGIC, "a block that is not of this operator new");
        block[0] = 0;
        live--;
        free(block);
    }
}

int main()
{
    require_hz3();
    void *blocks[] = {::operator new(10), ::operator new[](10), ::operator new(10, std::nothrow),
                      ::operator new[](10, std::nothrow)};
    CHECK(live == 4, "%ld live", live);
    // The forms that this program does not replace.
    ::operator delete[](blocks[0]);
    ::operator delete(blocks[1], size_t(10));
    ::operator delete(blocks[2], std::nothrow);
    ::operator delete[](blocks[3], size_t(10));
    CHECK(live == 0, "%ld live", live);
    ::operator delete[](::operator new(10), std::nothrow);
    CHECK(live == 0, "%ld live", live);
    CHECK(!::operator new(impossible, std::nothrow), "nothrow, and the replaced form throws");
    CHECK(!::operator new[](impossible, std::nothrow),
          "nothrow array, and the replaced form throws");
    // stable_sort takes its buffer by nothrow new and gives it back by plain delete.
    std::vector<int> numbers;
    for (int i = 0; i < 10000; i++) {
        numbers.push_back(i * 7919 % 10007);
    }
    std::stable_sort(numbers.begin(), numbers.end());
    CHECK(std::is_sorted(numbers.begin(), numbers.end()), "not sorted");
    std::vector<int>().swap(numbers);
    CHECK(live == 0, "%ld live", live);
    // The aligned forms are a family of their own, not replaced here.
    ::operator delete[](::operator new[](10, std::align_val_t{64}), std::align_val_t{64});
    CHECK(live == 0, "%ld live", live);
    return finish();
}
