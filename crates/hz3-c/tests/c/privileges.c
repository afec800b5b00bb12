/* A program that allocates, and prints whether it runs as another user than its caller. */
#include "check.h"
#include <unistd.h>

int main(void)
{
    require_hz3();
    puts(getuid() == geteuid() ? "same user" : "another user");
    return check_failures != 0;
}
