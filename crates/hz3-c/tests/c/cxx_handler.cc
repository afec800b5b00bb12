// When memory is exhausted: is the new handler called, may it free memory, uninstall itself or
// throw, and is bad_alloc thrown if there is no handler?
#include "check.h"
#include <exception>
#include <functional>
#include <new>
#include <string>

// No machine has this much; the arguments of `new` are not constants for the compiler.
static volatile size_t impossible = size_t(1) << 60;
static volatile size_t too_large = SIZE_MAX;
static int calls;

static bool throws_bad_alloc(const std::function<void *()> &request)
{
    try {
        void *block = request();
        CHECK(false, "%p", block);
    } catch (const std::bad_alloc &error) {
        return std::string(error.what()) == "std::bad_alloc";
    } catch (...) {
        CHECK(false, "something else was thrown");
    }
    return false;
}

static const std::align_val_t page{4096};

static void without_handler()
{
    std::set_new_handler(nullptr);
    for (size_t size : {size_t(impossible), size_t(too_large)}) {
        CHECK(throws_bad_alloc([=] { return ::operator new(size); }), "new");
        CHECK(throws_bad_alloc([=] { return ::operator new[](size); }), "new[]");
        CHECK(throws_bad_alloc([=] { return ::operator new(size, page); }), "aligned new");
        CHECK(throws_bad_alloc([=] { return ::operator new[](size, page); }), "aligned new[]");
        CHECK(!::operator new(size, std::nothrow), "nothrow new");
        CHECK(!::operator new[](size, std::nothrow), "nothrow new[]");
        CHECK(!::operator new(size, page, std::nothrow), "nothrow aligned new");
        CHECK(!::operator new[](size, page, std::nothrow), "nothrow aligned new[]");
    }
}

// Uninstalls itself at the third call.
static void leaving()
{
    if (++calls == 3) {
        std::set_new_handler(nullptr);
    }
}

static void handler_leaves()
{
    const std::function<void *()> throwing[] = {
        [] { return ::operator new(impossible); }, [] { return ::operator new[](impossible); },
        [] { return ::operator new(impossible, page); },
        [] { return ::operator new[](impossible, page); }};
    for (const auto &request : throwing) {
        calls = 0;
        std::set_new_handler(leaving);
        CHECK(throws_bad_alloc(request) && calls == 3, "%d calls", calls);
    }
    const std::function<void *()> quiet[] = {
        [] { return ::operator new(impossible, std::nothrow); },
        [] { return ::operator new[](impossible, std::nothrow); },
        [] { return ::operator new(impossible, page, std::nothrow); },
        [] { return ::operator new[](impossible, page, std::nothrow); }};
    for (const auto &request : quiet) {
        calls = 0;
        std::set_new_handler(leaving);
        CHECK(!request() && calls == 3, "%d calls", calls);
    }
}

struct Own {
    int value;
    std::string text;
};

static void throwing_own() { throw Own{++calls, std::string(100, 'x')}; }
static void throwing_bad_alloc() { ++calls; throw std::bad_alloc(); }

static void handler_throws()
{
    std::set_new_handler(throwing_own);
    for (int round = 1; round <= 1000; round++) {
        calls = 0;
        int caught = 0;
        try {
            ::operator new(impossible);
        } catch (const Own &own) {
            caught = own.value + (own.text.size() == 100);
        }
        CHECK(caught == 2, "round %d: %d", round, caught);
        try {
            ::operator new[](impossible, page);
        } catch (const Own &own) {
            caught = own.value;
        }
        CHECK(caught == 2, "round %d: %d", round, caught);
    }
    for (auto handler : {throwing_own, throwing_bad_alloc}) {
        std::set_new_handler(handler);
        for (int round = 0; round < 1000; round++) {
            calls = 0;
            CHECK(!::operator new(impossible, std::nothrow) && calls == 1, "%d calls", calls);
            CHECK(!::operator new[](impossible, page, std::nothrow) && calls == 2, "%d calls",
                  calls);
            CHECK(std::uncaught_exceptions() == 0, "%d uncaught", std::uncaught_exceptions());
        }
    }
    std::set_new_handler(nullptr);
}

// Calls nothrow new while another exception is being unwound.
struct InDestructor {
    ~InDestructor()
    {
        CHECK(!::operator new(impossible, std::nothrow), "in a destructor");
        CHECK(std::uncaught_exceptions() == 1, "%d uncaught", std::uncaught_exceptions());
    }
};

static void while_unwinding()
{
    std::set_new_handler(throwing_own);
    bool caught = false;
    try {
        InDestructor guard;
        throw 7;
    } catch (int value) {
        caught = value == 7;
    }
    CHECK(caught, "the first exception was lost");
    std::set_new_handler(nullptr);
}

int main()
{
    require_hz3();
    without_handler();
    handler_leaves();
    handler_throws();
    while_unwinding();
    CHECK(statistic("allocated") < 10 << 20, "exceptions leak: %lld bytes", statistic("allocated"));
    return finish();
}
