// Work for a C++ compiler: the standard library, instantiated eight times over.
#include <algorithm>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <numeric>
#include <random>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <tuple>
#include <unordered_map>
#include <variant>
#include <vector>
template <int N> struct Work {
    using Value = std::variant<int, double, std::string, std::vector<int>>;
    std::map<std::string, Value> values;
    std::unordered_map<int, std::unique_ptr<std::string>> names;
    std::string run(int seed) {
        std::mt19937 random(seed + N);
        std::vector<std::tuple<int, std::string, double>> rows;
        for (int i = 0; i < N; ++i) {
            rows.emplace_back(random() % 1000, std::to_string(random()), random() / 3.0);
            values["k" + std::to_string(i)] = i % 2 ? Value(i) : Value(std::to_string(i));
            names[i] = std::make_unique<std::string>(std::to_string(i * N));
        }
        std::sort(rows.begin(), rows.end());
        std::ostringstream out;
        for (auto &[a, b, c] : rows) out << a << b << c;
        for (auto &[k, v] : values) std::visit([&](auto &x) { if constexpr (std::is_same_v<std::decay_t<decltype(x)>, std::vector<int>>) out << x.size(); else out << x; }, v);
        std::regex re("([0-9]+)" + std::to_string(N));
        return std::regex_replace(out.str(), re, "$1");
    }
};
template <int... N> std::string all(std::integer_sequence<int, N...>) {
    std::string s; ((s += Work<N + 1>().run(N)), ...); return s;
}
int main() { std::cout << all(std::make_integer_sequence<int, 8>()).size() << "\n"; }
