/* A process without a C++ runtime calls the operators: nothrow new returns NULL, plain new ends the
 * process with a message that it cannot throw. */
#include "check.h"

/* Weak: only hz3 has them. */
void *plain_new(size_t) __asm__("_Znwm") __attribute__((weak));
void *nothrow_new(size_t, const void *) __asm__("_ZnwmRKSt9nothrow_t") __attribute__((weak));
void plain_delete(void *) __asm__("_ZdlPv") __attribute__((weak));

int main(void)
{
    require_hz3();
    plain_delete(plain_new(100));
    CHECK(!nothrow_new((size_t)1 << 60, ""), "not NULL");
    if (finish() == 0) {
        fflush(stdout);
        plain_new((size_t)1 << 60);
    }
    return 1;
}
