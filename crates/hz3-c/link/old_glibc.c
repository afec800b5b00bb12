/*
 * Lets libhz3.so start on a glibc before 2.34. There these functions live in libpthread, which not
 * every process loads. The linker routes the library's calls here (--wrap).
 *
 * A process without libpthread has one thread: hz3 need not notice that a thread ends, and never
 * asks for the stack of another thread than the main one. If a process loads libpthread later by
 * dlopen, the caches of ended threads stay until other threads take their blocks.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stddef.h>

#define WEAK(name) extern __typeof__(name) __real_##name __attribute__((weak))
#define WRAPPER __attribute__((visibility("hidden")))

WEAK(pthread_attr_getstack);
WEAK(pthread_getattr_np);
WEAK(pthread_key_create);
WEAK(pthread_setspecific);

WRAPPER int __wrap_pthread_attr_getstack(const pthread_attr_t *attributes, void **start,
                                         size_t *size) {
    return __real_pthread_attr_getstack ? __real_pthread_attr_getstack(attributes, start, size)
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
