/*
 * hz3: a memory allocator that gives memory back to the system.
 *
 * A program needs this header only for the functions declared below. <stdlib.h> and <malloc.h>
 * declare malloc, free and their family, and <new> the operators new and delete. hz3 serves them
 * without a change to the program if it is preloaded (LD_PRELOAD=/path/to/libhz3.so), linked
 * (-lhz3) or linked statically (libhz3.a).
 *
 * All sizes are in bytes. All functions may be called from any thread at any time, before main
 * and after exit included, but not from a signal handler. None of them changes errno.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef HZ3_H
#define HZ3_H

#include <stddef.h>

#ifdef __cplusplus
#define HZ3_NOEXCEPT noexcept
extern "C" {
#else
#define HZ3_NOEXCEPT
#endif

/* The version that this header belongs to. */
#define HZ3_VERSION_MAJOR 0
#define HZ3_VERSION_MINOR 1
#define HZ3_VERSION_PATCH 0
#define HZ3_VERSION "0.1.0"

/*
 * Returns the version of the loaded library, in the form of HZ3_VERSION: a constant string that
 * stays valid. A library with the same major version (before 1.0: the same minor version) has all
 * functions that this header declares.
 */
const char *hz3_version(void) HZ3_NOEXCEPT;

/*
 * Gives all free memory back to the operating system: empties the caches of all threads, and
 * returns every free page. Blocks that the program holds stay as they are. Returns the bytes given
 * back, which may be 0.
 *
 * It takes time in proportion to the memory that it gives back. If a program does not call it, hz3
 * gives memory back on its own; HZ3_BACKGROUND (auto, 1 or 0; default auto) selects the threads
 * that do so. malloc_trim(pad) does the same but keeps up to `pad` bytes of free memory ready; it
 * returns 1 if it gave anything back, else 0.
 */
size_t hz3_collect(void) HZ3_NOEXCEPT;

/*
 * Runs one step of the reclaim pipeline, which otherwise runs on its own, with time and allocation
 * activity. For tests and measurements.
 */
void hz3_epoch_force(void) HZ3_NOEXCEPT;

/*
 * Writes statistics as one JSON object on one line, as snprintf does: at most `size` bytes to
 * `buffer`, of which the last is a NUL. NULL counts as a buffer of 0 bytes. Returns the length of
 * the whole text without the NUL: if that is `size` or more, the text was cut off.
 *
 * Every value is a whole number, in bytes unless said otherwise. The keys are
 *   allocated      held by the program, rounded up to size classes
 *   cached         in the caches of threads
 *   slack          free blocks and tails inside slabs that are partly used
 *   active         allocated + cached + slack
 *   dirty          free pages that may be resident
 *   retained       free pages known not to be resident
 *   committed      active + dirty + retained
 *   metadata       the mapped size of hz3's tables and thread caches
 *   reserved       the most address space that the arena may use
 *   resident       resident set of the process according to the system, 0 if unknown
 *   peak_active    the largest value that active ever had
 *   cached_running, cached_idle, cached_transfer
 *                  the parts of cached: in caches of threads that ran a slow path since the last
 *                  tick, in caches of other threads, and in transfer caches
 *   slack_shared, slack_holes, slack_clean
 *                  the parts of slack: in pages that also hold a block in use, in pages that a
 *                  purge would give back, in pages known not to be resident
 *   dirty_young, dirty_old
 *                  the parts of dirty: pages freed after the last ageing, and before it
 *   large          blocks of more than 32 KiB; part of allocated
 *   huge           the part of large in blocks that are mappings of their own
 *   metadata_resident   the resident part of metadata
 *   threads        caches that belong to a thread (number)
 *   requests       allocation calls (number; 0 unless started with HZ3_COUNT=1)
 *   frees          calls that free (number; 0 unless started with HZ3_COUNT=1)
 *   segments, slabs   regions of 4 MiB and runs of one size class in use (numbers)
 *   refills, flushes, large_allocs, large_frees, huge_allocs, madvise_calls, madvise_refused
 *                  events so far (numbers)
 *   ticks          ticks of the reclaimer (number)
 *   stolen_bytes   blocks taken from the caches of other threads so far
 *   idle_class_bytes the part of stolen_bytes in idle classes of threads that used other classes
 *   retired_bytes  in slabs that the reclaimer found empty so far
 *   purged_bytes   given back to the system so far
 *   hole_bytes     the part of purged_bytes in slabs that were partly used
 *   refaulted_bytes   reused after they had been given back
 *   prefaulted_bytes   prefaulted, a whole slab at a time, before the program touched them
 *   limit, held    the memory limit (HZ3_LIMIT; 0 if there is none), and what counts towards it
 *   reliefs        how often free memory was given back because the limit was near (number)
 *   contended_caches, contended_transfers, contended_bins, contended_pages
 *                  how often a lock was contended: of a thread's cache, of a transfer cache, of a
 *                  bin, of the pages and mappings (numbers)
 * and of the experimental policies (docs/experiments/README.md):
 *   epochs  epochs of a policy other than the default
 *   decay_epochs  times that decay examined a cache (S58)
 *   decay_shrinks  times that decay lowered a class's capacity
 *   decay_returns  times that decay returned blocks to their slabs
 *   decayed_blocks  blocks that decay returned
 *   dumps  times that an owner dumped its cache (S64)
 *   dump_stops  dumps that stopped because their budget was used up
 *   dumped_blocks  blocks that dumps returned to their slabs
 *   retired_pages  pages of slabs that an epoch found empty and returned to the segments (S62)
 *   scanned_segments  segments that a scan examined (S57-B2)
 *   skipped_hot  segments that a scan skipped because they were used recently
 *   skipped_small  ranges that a scan skipped because they were too short
 *   queued  ranges of free pages that were queued (S60, S64)
 *   queued_pages  pages of the queued ranges
 *   peak_queue  the largest number of entries that the queue ever had
 *   coalesced  ranges that were merged into the newest entry of the queue (S64-P1a)
 *   dropped  ranges that found the queue full, and entries that the policy discards
 *   dropped_pages  pages of the dropped ranges and entries
 *   cancelled  entries that were not purged because some of their pages had been reused
 *   cancelled_pages  pages that were not purged because they or others of their entry were reused
 *   delay_stops  times that an epoch stopped at an entry that was not due
 *   budget_stops  times that an epoch stopped because its budget was used up
 *   exits  threads that purged when they ended (S61, S62)
 *   exit_pages  pages that ending threads purged
 *   exit_segments  whole segments among the pages that ending threads purged
 *   time_ns  nanoseconds spent in ticks, epochs and ends of threads
 * Later versions may add keys. A change by another thread during the call may be counted in some
 * keys and not in others.
 */
size_t hz3_stats_json(char *buffer, size_t size) HZ3_NOEXCEPT;

/*
 * Sets an option in the running process: tick_ms (1 to 60000), policy (default or off), limit (as
 * HZ3_LIMIT), limit_mode (fail or reclaim), pressure (0 or 1), profile_rate and profile_path (as
 * HZ3_PROFILE_RATE and HZ3_PROFILE), metrics and metrics_ms; profile (on, off, or write: replaces
 * the file at profile_path); profile_to (an absolute path: writes the profile there); or purge (now).
 * Returns 0, or ENOENT for an unknown name, EINVAL for a value that the option does not take,
 * EAGAIN if it cannot be done now: before the first allocation, without memory, or without a file.
 */
int hz3_set(const char *name, const char *value) HZ3_NOEXCEPT;

/*
 * Sets the function that is called before the memory limit (HZ3_LIMIT, in the mode fail) makes an
 * allocation fail, with the requested bytes and `context`; NULL for none, as at first. What it
 * frees may serve the request, which is tried once more.
 *
 * The thread that allocates calls it and holds none of hz3's locks; several threads may do so at
 * once. It may call malloc, free and every function of this header. An allocation that fails inside
 * it returns NULL and calls nothing. After a call that made no room, there is none for 100 ms
 * unless memory came back to the heap meanwhile.
 *
 * The allocation may come from code that holds a lock, also inside the C library. So the function
 * must not wait for a lock that a caller of malloc may hold (pthread_mutex_trylock is fine), must
 * not free the block of the realloc that called it, and must return: no exception, no longjmp. It
 * may still run on another thread when hz3_on_limit returns.
 */
void hz3_on_limit(void (*function)(size_t wanted, void *context), void *context) HZ3_NOEXCEPT;

/*
 * The statistics page, which other processes read while this one runs: `hz3 top PID` shows it. NULL
 * until hz3 first ran a tick. The page starts with "hz3stats" and describes itself; the layout is in
 * crates/hz3/src/stats/page_layout.rs.
 */
extern const void *const volatile hz3_statistics_page;

/*
 * How full slabs are, for a program that moves blocks out of sparse ones (active defragmentation).
 * A slab is cut into `blocks` blocks of `block_bytes` bytes each. `used` of them are not free in
 * the slab: the program holds them, or it freed them and they wait in the cache of a thread or on
 * their way to another one. hz3_collect empties these caches. A block of more than 32 KiB is alone:
 * its `blocks` and `used` are 1.
 */
struct hz3_slab_use {
    size_t block_bytes;
    size_t blocks;
    size_t used;
};

/*
 * Writes to out[i] how full the slab is in which the block pointers[i] lies, for `count` pointers.
 * Any pointer is allowed. All three numbers are 0 if no block of hz3's starts there (so also for
 * NULL), or if the block is free; but a block that waits in a cache looks like one in use. The
 * numbers are hints while other threads allocate and free.
 *
 * malloc takes a block of the thread's cache, or else one of a part-used slab, the fullest first.
 * So a program calls hz3_collect, then malloc and memcpy for the blocks of sparse slabs, and frees
 * the old ones only after the last copy; else the next copy may get the block that was just freed.
 */
void hz3_utilization(const void *const *pointers, size_t count,
                     struct hz3_slab_use *out) HZ3_NOEXCEPT;

/*
 * The heap profile: samples of allocations with their stacks, from which pprof and `hz3 profile`
 * estimate what each place in the program allocated and still holds.
 *
 * hz3_profile_start begins or resumes sampling with a mean of `rate` bytes between two samples and
 * keeps what was sampled before. A rate of 0 stands for the present one, at first HZ3_PROFILE_RATE
 * (default 512 KiB). It returns 0, or ENOMEM without memory for its tables. hz3_profile_stop ends
 * sampling; blocks that were sampled are followed until they are freed.
 *
 * hz3_profile_write replaces the regular file at `path` by the profile. It returns 0; EINVAL if
 * path is NULL; EAGAIN if the profile was never started or there is no memory; EIO if the file
 * cannot be written.
 */
int hz3_profile_start(unsigned rate) HZ3_NOEXCEPT;
void hz3_profile_stop(void) HZ3_NOEXCEPT;
int hz3_profile_write(const char *path) HZ3_NOEXCEPT;

/*
 * C23; not yet in every <stdlib.h>. If a block of up to 32 KiB cannot have the size that free_sized
 * gets, hz3 ends the program as after other misuse. free_aligned_sized ignores its last arguments.
 */
void free_sized(void *block, size_t size) HZ3_NOEXCEPT;
void free_aligned_sized(void *block, size_t alignment, size_t size) HZ3_NOEXCEPT;

/*
 * Where the standards leave a choice, hz3 does what glibc does:
 *
 *   malloc(0)          a block of its own, to be freed like any other
 *   realloc(p, 0)      frees p and returns NULL
 *   calloc, reallocarray   NULL and ENOMEM when the product overflows
 *   requests above PTRDIFF_MAX   NULL and ENOMEM
 *   aligned_alloc      NULL and EINVAL when the alignment is no power of two, as in C23 and since
 *                      glibc 2.38; any size is allowed
 *   memalign           an alignment that is no power of two is rounded up to one; NULL and EINVAL
 *                      when that is impossible
 *   valloc, pvalloc    a block that starts on a page; NULL and ENOMEM when the size of pvalloc
 *                      cannot be rounded up to whole pages
 *   posix_memalign     returns EINVAL, or returns ENOMEM and sets errno to it; *memptr does not
 *                      change on failure
 *   free               keeps errno
 *   malloc_info        EINVAL for options other than 0; EIO when the stream fails
 *
 * and in its own way:
 *
 *   alignment          every block is aligned to 16 bytes
 *   mallopt            returns 1 for the parameters that glibc has, 0 for others; has no effect
 *   mallinfo2          arena     committed
 *                      uordblks  allocated
 *                      fordblks  committed - allocated
 *                      fsmblks   cached
 *                      keepcost  dirty: the bytes that malloc_trim could give back
 *                      ordblks   the number of slabs
 *                      hblks, hblkhd, smblks, usmblks   0
 *   mallinfo           the same; values that do not fit are INT_MAX
 *   malloc_stats       writes to file descriptor 2, with the parts of the memory that hz3 keeps
 *
 *   operator new       an alignment that is no power of two throws bad_alloc. The array, sized and
 *                      nothrow forms end in the plain forms, also when the program has its own.
 *
 *   libhz3.a           In a fully static C++ program, `new` can throw bad_alloc if the program
 *                      catches it by that name or uses any part of the C++ library that throws it.
 *                      Other programs end with a message instead, unless they are linked with
 *                      -Wl,--undefined=_ZSt17__throw_bad_allocv. A program with its own malloc or
 *                      operator new links libhz3.so, not libhz3.a.
 *
 * hz3 passes a pointer of another allocator on to that allocator's free, realloc or
 * malloc_usable_size. A pointer that no allocator can have returned, or that was freed before, ends
 * the program with abort() and one line on the standard error stream.
 */

#ifdef __cplusplus
}
#endif

#endif
