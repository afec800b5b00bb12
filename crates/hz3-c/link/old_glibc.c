/*
 * Lets libhz3.so start on a glibc before 2.34. There these functions live in libpthread, which not
 * every process loads. The linker routes the library's calls here (--wrap).
 *
 * A process without libpthread has one thread: hz3 need not notice that a thread ends, never asks
 * for the stack of another thread than the main one, and starts no thread of its own. If a process loads libpthread later by
 * dlopen, the caches of ended threads stay until other threads take their blocks.
 *
 * glibc before 2.33 has fstat and fstatat in no shared library. On both processors its structure is
 * the kernel's.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define WEAK(name) extern __typeof__(name) __real_##name __attribute__((weak))
#define WRAPPER __attribute__((visibility("hidden")))

WEAK(pthread_attr_getstack);
WEAK(pthread_attr_setstacksize);
WEAK(pthread_create);
WEAK(pthread_getattr_np);
WEAK(pthread_key_create);
WEAK(pthread_setspecific);
WEAK(pthread_sigmask);

WRAPPER int __wrap_pthread_attr_getstack(const pthread_attr_t *attributes, void **start,
                                         size_t *size) {
    return __real_pthread_attr_getstack ? __real_pthread_attr_getstack(attributes, start, size)
                                        : ENOSYS;
}

WRAPPER int __wrap_pthread_attr_setstacksize(pthread_attr_t *attributes, size_t size) {
    return __real_pthread_attr_setstacksize ? __real_pthread_attr_setstacksize(attributes, size)
                                            : ENOSYS;
}

WRAPPER int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                                  void *(*function)(void *), void *argument) {
    return __real_pthread_create ? __real_pthread_create(thread, attributes, function, argument)
                                 : ENOSYS;
}

WRAPPER int __wrap_pthread_getattr_np(pthread_t thread, pthread_attr_t *attributes) {
    return __real_pthread_getattr_np ? __real_pthread_getattr_np(thread, attributes) : ENOSYS;
}

WRAPPER int __wrap_pthread_key_create(pthread_key_t *key, void (*destructor)(void *)) {
    return __real_pthread_key_create ? __real_pthread_key_create(key, destructor) : ENOSYS;
}

WRAPPER int __wrap_pthread_setspecific(pthread_key_t key, const void *value) {
    return __real_pthread_setspecific ? __real_pthread_setspecific(key, value) : ENOSYS;
}

WRAPPER int __wrap_pthread_sigmask(int how, const sigset_t *set, sigset_t *old) {
    if (__real_pthread_sigmask) {
        return __real_pthread_sigmask(how, set, old);
    }
    return syscall(SYS_rt_sigprocmask, how, set, old, _NSIG / 8) ? errno : 0;
}

WRAPPER int __wrap_fstat(int file, struct stat *status) {
    return (int)syscall(SYS_fstat, file, status);
}

WRAPPER int __wrap_fstatat(int directory, const char *path, struct stat *status, int flags) {
    return (int)syscall(SYS_newfstatat, directory, path, status, flags);
}
