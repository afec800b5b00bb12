// Do all forms of operator new and delete work, also mixed?
#include "check.h"
#include <cstdint>
#include <initializer_list>
#include <new>

struct alignas(256) Wide {
    char bytes[256];
};

static void plain()
{
    for (size_t size : {0ul, 1ul, 8ul, 100ul, 5000ul, 40000ul, 3000000ul}) {
        void *one = ::operator new(size);
        void *two = ::operator new[](size);
        void *three = ::operator new(size, std::nothrow);
        void *four = ::operator new[](size, std::nothrow);
        CHECK(one && two && three && four, "size %zu", size);
        CHECK(one != two && two != three && three != four, "size %zu: shared", size);
        memset(one, 1, size);
        memset(two, 2, size);
        memset(three, 3, size);
        memset(four, 4, size);
        ::operator delete(one);
        ::operator delete[](two);
        ::operator delete(three, std::nothrow);
        ::operator delete[](four, std::nothrow);
    }
    ::operator delete(nullptr);
    ::operator delete[](nullptr);
    ::operator delete(nullptr, size_t(8));
    ::operator delete[](nullptr, size_t(8));
}

static void sized()
{
    for (size_t size : {1ul, 8ul, 100ul, 5000ul, 40000ul, 3000000ul}) {
        // The right size; a wrong one ends the process (misuse.c).
        ::operator delete(::operator new(size), size);
        ::operator delete[](::operator new[](size), size);
    }
}

static void aligned()
{
    for (size_t align = 1; align <= (1 << 24); align *= 2) {
        std::align_val_t value{align};
        for (size_t size : {1ul, 100ul, 5000ul, 40000ul}) {
            void *blocks[] = {::operator new(size, value), ::operator new[](size, value),
                              ::operator new(size, value, std::nothrow),
                              ::operator new[](size, value, std::nothrow)};
            for (void *block : blocks) {
                CHECK(block && uintptr_t(block) % align == 0, "align %zu, size %zu: %p", align,
                      size, block);
                memset(block, 1, size);
            }
            ::operator delete(blocks[0], value);
            ::operator delete[](blocks[1], size, value);
            ::operator delete(blocks[2], value, std::nothrow);
            ::operator delete[](blocks[3], value, std::nothrow);
            ::operator delete(::operator new(size, value), size, value);
            ::operator delete[](::operator new[](size, value), value);
            ::operator delete(::operator new(size, value), size_t(3), std::align_val_t{1});
        }
    }
    for (size_t align : {3ul, 24ul, 100ul}) {
        bool thrown = false;
        try {
            ::operator delete(::operator new(64, std::align_val_t{align}));
        } catch (const std::bad_alloc &) {
            thrown = true;
        }
        CHECK(thrown, "alignment %zu is no power of two", align);
        CHECK(!::operator new(64, std::align_val_t{align}, std::nothrow), "alignment %zu, nothrow",
              align);
    }
}

static void expressions()
{
    delete new int(5);
    delete[] new char[1000];
    Wide *one = new Wide, *many = new Wide[9];
    CHECK(uintptr_t(one) % 256 == 0 && uintptr_t(many) % 256 == 0, "%p %p", (void *)one,
          (void *)many);
    delete one;
    delete[] many;
    // C and C++ share the heap.
    free(::operator new(100));
    ::operator delete(malloc(100));
}

int main()
{
    require_hz3();
    plain();
    sized();
    aligned();
    expressions();
    return finish();
}
