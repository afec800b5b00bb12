/* A program that allocates nothing. Its last act is to write its own resident set from
 * /proc/self/status, with a buffer on the stack and plain system calls. */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

int main(void) {
    char text[8192];
    int file = open("/proc/self/status", O_RDONLY);
    if (file < 0) return 1;
    ssize_t length = read(file, text, sizeof text - 1);
    if (length <= 0) return 1;
    text[length] = 0;
    char *line = strstr(text, "VmRSS:");
    char *end = line ? strchr(line, '\n') : NULL;
    if (!end) return 1;
    return write(1, line, (size_t)(end - line) + 1) < 0;
}
