/* Two thousand functions by macro expansion: a translation unit large enough for the compiler to
 * allocate in earnest. The demo compiles it; nobody runs it. */
#define FUNCTION(name)                                             \
    static unsigned name##_step(unsigned value, const unsigned *table) { \
        for (unsigned round = 0; round < 16; round++) {            \
            value ^= value << 13;                                  \
            value ^= value >> 17;                                  \
            value ^= value << 5;                                   \
            switch (value & 3) {                                   \
            case 0: value += table[round & 7]; break;              \
            case 1: value *= table[(round + 1) & 7] | 1; break;    \
            case 2: value -= round; break;                         \
            default: value = ~value; break;                        \
            }                                                      \
        }                                                          \
        return value;                                              \
    }                                                              \
    unsigned name(unsigned value, const unsigned *table) {         \
        return name##_step(name##_step(value, table) + 1, table);  \
    }
#define TEN(name) FUNCTION(name##0) FUNCTION(name##1) FUNCTION(name##2) FUNCTION(name##3) \
    FUNCTION(name##4) FUNCTION(name##5) FUNCTION(name##6) FUNCTION(name##7)              \
    FUNCTION(name##8) FUNCTION(name##9)
#define HUNDRED(name) TEN(name##0) TEN(name##1) TEN(name##2) TEN(name##3) TEN(name##4) \
    TEN(name##5) TEN(name##6) TEN(name##7) TEN(name##8) TEN(name##9)
HUNDRED(a) HUNDRED(b) HUNDRED(c) HUNDRED(d) HUNDRED(e) HUNDRED(f) HUNDRED(g) HUNDRED(h)
HUNDRED(i) HUNDRED(j)
