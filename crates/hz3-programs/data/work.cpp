// Work for the end-to-end test of g++: templates to compile, and a program that allocates in all the
// ways C++ has. Prints only what does not depend on timing or addresses.
#include <algorithm>
#include <deque>
#include <fstream>
#include <functional>
#include <iostream>
#include <list>
#include <map>
#include <memory>
#include <memory_resource>
#include <new>
#include <nlohmann/json.hpp>
#include <regex>
#include <sstream>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

namespace {

std::uint64_t mix(std::uint64_t hash, const std::string &text) {
    for (unsigned char c : text) hash = (hash ^ c) * 1099511628211ULL;
    return hash;
}

struct alignas(256) Wide {
    char bytes[512];
};

std::uint64_t containers(const std::vector<std::string> &lines) {
    std::map<std::string, std::vector<int>> where;
    std::unordered_map<std::string, std::size_t> count;
    std::deque<std::string> recent;
    std::list<std::unique_ptr<std::string>> owned;
    for (std::size_t i = 0; i < lines.size(); ++i) {
        std::istringstream in(lines[i]);
        for (std::string word; in >> word;) {
            where[word].push_back(static_cast<int>(i));
            ++count[word];
            recent.push_back(word);
            if (recent.size() > 1000) recent.pop_front();
            if (i % 3 == 0) owned.push_back(std::make_unique<std::string>(word + word));
        }
        while (owned.size() > 5000) owned.pop_front();
    }
    std::uint64_t hash = 14695981039346656037ULL;
    for (const auto &[word, places] : where) hash = mix(hash, word + std::to_string(places.size() + count[word]));
    for (const auto &word : recent) hash = mix(hash, word);
    for (const auto &word : owned) hash = mix(hash, *word);
    return hash;
}

std::uint64_t documents(const std::vector<std::string> &lines) {
    nlohmann::json all = nlohmann::json::array();
    for (std::size_t i = 0; i < lines.size(); i += 2) all.push_back({{"line", lines[i]}, {"number", i}, {"half", i / 2.0}});
    auto again = nlohmann::json::from_cbor(nlohmann::json::to_cbor(nlohmann::json::parse(all.dump())));
    return mix(again.size(), again.dump());
}

std::size_t expressions(const std::vector<std::string> &lines) {
    const std::regex pattern("([a-z]+)que|(tra|sal)([a-z]*)");
    std::size_t found = 0;
    for (std::size_t i = 0; i < 400 && i < lines.size(); ++i)
        found += static_cast<std::size_t>(std::distance(std::sregex_iterator(lines[i].begin(), lines[i].end(), pattern), std::sregex_iterator()));
    return found;
}

// Blocks made in one thread and freed in the next one.
std::uint64_t threads(const std::vector<std::string> &lines) {
    std::vector<std::vector<std::string>> handed(6);
    std::vector<std::thread> workers;
    for (std::size_t me = 0; me < handed.size(); ++me)
        workers.emplace_back([&, me] {
            for (std::size_t i = me; i < lines.size(); i += handed.size()) handed[me].push_back(lines[i] + lines[i]);
        });
    for (auto &worker : workers) worker.join();
    std::vector<std::uint64_t> sums(handed.size());
    workers.clear();
    for (std::size_t me = 0; me < handed.size(); ++me)
        workers.emplace_back([&, me] {
            auto mine = std::move(handed[(me + 1) % handed.size()]);
            for (const auto &line : mine) sums[me] = mix(sums[me], line);
        });
    for (auto &worker : workers) worker.join();
    std::uint64_t hash = 0;
    for (auto sum : sums) hash = hash * 31 + sum;
    return hash;
}

std::size_t operators() {
    std::size_t good = 0;
    for (int i = 0; i < 2000; ++i) {
        auto wide = std::make_unique<Wide>();
        good += reinterpret_cast<std::uintptr_t>(wide.get()) % 256 == 0;
        auto many = std::make_unique<Wide[]>(3);
        good += reinterpret_cast<std::uintptr_t>(many.get()) % 256 == 0;
    }
    std::pmr::unsynchronized_pool_resource pool;
    std::pmr::vector<std::pmr::string> strings(&pool);
    for (int i = 0; i < 5000; ++i) strings.emplace_back(static_cast<std::size_t>(i % 300), 'x');
    for (const auto &string : strings) good += string.size();
    // More than any machine has: nothrow says null, the plain form throws.
    volatile std::size_t absurd = static_cast<std::size_t>(1) << 62;
    good += ::operator new(absurd, std::nothrow) == nullptr;
    try {
        ::operator delete(::operator new(absurd));
    } catch (const std::bad_alloc &) {
        ++good;
    }
    return good;
}

} // namespace

int main(int, char **argv) {
    std::ifstream in(argv[1]);
    std::vector<std::string> lines;
    for (std::string line; std::getline(in, line);) lines.push_back(line);
    std::cout << "containers " << containers(lines) << '\n'
              << "documents " << documents(lines) << '\n'
              << "expressions " << expressions(lines) << '\n'
              << "threads " << threads(lines) << '\n'
              << "operators " << operators() << '\n';
}
