// Do containers, strings and exceptions work in four threads at once, with blocks freed elsewhere?
#include "check.h"
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

static std::mutex lock;
static std::vector<std::unique_ptr<std::string>> shared;
static volatile size_t impossible = size_t(1) << 60;

static void containers(unsigned seed)
{
    std::map<std::string, std::vector<int>> table;
    for (int i = 0; i < 3000; i++) {
        seed = seed * 1103515245 + 12345;
        std::string key(1 + seed % 200, char('a' + seed % 26));
        table[key].push_back(i);
        if (i % 3 == 0) {
            table.erase(table.begin());
        }
        std::lock_guard<std::mutex> guard(lock);
        shared.push_back(std::make_unique<std::string>(key));
        if (shared.size() > 500) {
            shared.erase(shared.begin(), shared.begin() + 250);
        }
    }
    size_t sum = 0;
    for (const auto &[key, values] : table) {
        CHECK(key.find_first_not_of(key[0]) == std::string::npos, "a key was overwritten");
        sum += values.size();
    }
    CHECK(sum > 0 && sum < 3000, "%zu values", sum);
}

static int depth(int level)
{
    std::vector<int> local(100, level);
    if (level == 0) {
        throw std::runtime_error(std::string(300, 'r'));
    }
    return depth(level - 1) + local[50];
}

static void exceptions()
{
    int caught = 0;
    for (int i = 0; i < 300; i++) {
        try {
            depth(20);
        } catch (const std::runtime_error &error) {
            caught += strlen(error.what()) == 300;
        }
        try {
            std::unique_ptr<char[]> block(new char[impossible]);
        } catch (const std::bad_alloc &) {
            caught++;
        }
        try {
            std::vector<int>().at(1);
        } catch (const std::out_of_range &) {
            caught++;
        }
    }
    CHECK(caught == 900, "%d caught", caught);
}

int main()
{
    require_hz3();
    for (unsigned round = 0; round < 3; round++) {
        std::vector<std::thread> threads;
        for (unsigned i = 0; i < 4; i++) {
            threads.emplace_back([=] {
                containers(i + round * 10);
                exceptions();
            });
        }
        for (auto &thread : threads) {
            thread.join();
        }
    }
    shared.clear();
    return finish();
}
