/*
 * hz3: a memory allocator that gives memory back to the system.
 *
 * A program needs this header only for what is declared below. malloc, free and their family are
 * declared by <stdlib.h> and <malloc.h>, the operators new and delete by <new>; hz3 serves them
 * when it is preloaded (LD_PRELOAD=/path/to/libhz3.so), linked (-lhz3) or linked statically
 * (libhz3.a), without a change to the program.
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
 * Returns the version of the library that the process runs on, as HZ3_VERSION: a constant string
 * that stays valid. A library with the same major version, or before 1.0 the same minor version,
 * has everything that this header declares.
 */
const char *hz3_version(void) HZ3_NOEXCEPT;

/*
 * Gives all free memory back to the operating system: empties the caches of all threads, and
 * returns every free page. Blocks that the program holds stay as they are. Returns the bytes given
 * back, which may be 0.
 *
 * Takes time in proportion to what there is to give back. A program that does not call it gets its
 * memory returned too: HZ3_BACKGROUND=auto (the default), 1 or 0 says by which threads.
 * malloc_trim(pad) does the same but keeps up to `pad` bytes of free memory ready; it returns 1 if
 * it gave anything back, else 0.
 */
size_t hz3_collect(void) HZ3_NOEXCEPT;

/*
 * Takes one step of the reclaim pipeline, which otherwise goes on by itself with time and
 * allocation activity. For tests and measurements.
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
 *   metadata       the tables of hz3 itself, at most
 *   reserved       address space
 *   resident       resident set of the process according to the system, 0 if unknown
 *   peak_active    the most that active ever was
 *   cached_running, cached_idle, cached_transfer
 *                  the parts of cached: of threads that ran a slow path since the last tick, of
 *                  others, and between the caches of two threads
 *   slack_shared, slack_holes, slack_clean
 *                  the parts of slack: in pages that also hold a block in use, in pages that a
 *                  purge would give back, in pages known not to be resident
 *   dirty_young, dirty_old
 *                  the parts of dirty: free since the last ageing, and before it
 *   large          blocks of more than 32 KiB; part of allocated
 *   huge           those of them that are mappings of their own
 *   metadata_resident   the resident part of metadata
 *   threads        caches that belong to a thread (number)
 *   requests       allocation calls (number; 0 unless started with HZ3_COUNT=1)
 *   frees          calls that free (number; 0 unless started with HZ3_COUNT=1)
 *   segments, slabs   regions of 4 MiB and runs of one size class in use (numbers)
 *   refills, flushes, large_allocs, large_frees, huge_allocs, madvise_calls, madvise_refused
 *                  events so far (numbers)
 *   ticks          how often the reclaimer has looked (number)
 *   stolen_bytes   taken from the caches of other threads so far
 *   idle_class_bytes those of them that their threads, at work in other sizes, did not want
 *   retired_bytes  in slabs that the reclaimer found empty so far
 *   purged_bytes   given back to the system so far
 *   hole_bytes     those of them that lay inside slabs that were partly used
 *   refaulted_bytes   taken again after they had been given back
 *   prefaulted_bytes   asked for a whole slab at a time, before it was touched
 *   limit, held    what the heap may hold (HZ3_LIMIT; 0 without one), and what counts towards it
 *   reliefs        how often free memory went back because the limit was near (number)
 *   contended_caches, contended_transfers, contended_bins, contended_pages
 *                  how often a lock was met held, and waited for or passed over: of a thread's cache,
 *                  of a transfer cache, of a bin, of the pages and mappings (numbers)
 * and of the policies (docs/experiments/README.md):
 *   epochs  number of epochs of a policy other than the default
 *   decay_epochs  times that a cache was looked at for decay (S58)
 *   decay_shrinks  times that a class's capacity fell by it
 *   decay_returns  times that blocks went back to their slabs by it
 *   decayed_blocks  blocks that did
 *   dumps  dumps of a cache by its owner (S64)
 *   dump_stops  those of them that stopped because their budget was used up
 *   dumped_blocks  blocks that dumps put back
 *   retired_pages  pages of slabs that an epoch found empty and gave back to the segments (S62)
 *   scanned_segments  segments that a scan looked into (S57-B2)
 *   skipped_hot  segments that it passed over, as they were in use lately
 *   skipped_small  ranges that it passed over, as they were too short
 *   queued  ranges of free pages that were queued (S60, S64)
 *   queued_pages  pages of these ranges
 *   peak_queue  the most entries that the queue ever had
 *   coalesced  ranges that joined the newest entry of the queue (S64-P1a)
 *   dropped  entries that left the queue without a purge: it was full, or the policy discards the rest
 *   dropped_pages  pages of these entries
 *   cancelled  entries that were not purged because pages of theirs had been taken
 *   cancelled_pages  pages that were not purged because they, or others of their entry, had been taken
 *   delay_stops  times that an epoch stopped at an entry that was not due
 *   budget_stops  times that an epoch stopped because its budget was used up
 *   exits  ends of threads that purged (S61, S62)
 *   exit_pages  pages that they purged
 *   exit_segments  whole segments among these pages
 *   time_ns  nanoseconds spent in ticks, epochs and ends of threads
 * More keys may be added. Activity of other threads during the call may show in some keys and not
 * in others.
 */
size_t hz3_stats_json(char *buffer, size_t size) HZ3_NOEXCEPT;

/*
 * C23, and not yet in every <stdlib.h>. hz3 knows the size and the alignment of each block itself,
 * and accepts wrong ones.
 */
void free_sized(void *block, size_t size) HZ3_NOEXCEPT;
void free_aligned_sized(void *block, size_t alignment, size_t size) HZ3_NOEXCEPT;

/*
 * Where the family has room for choice, hz3 does what glibc does:
 *
 *   malloc(0)          a block of its own, to be freed as any
 *   realloc(p, 0)      frees p and returns NULL
 *   calloc, reallocarray   NULL and ENOMEM when the product overflows
 *   requests above PTRDIFF_MAX   NULL and ENOMEM
 *   aligned_alloc      NULL and EINVAL when the alignment is no power of two, as in C23 and since
 *                      glibc 2.38; the size may be any
 *   memalign           an alignment that is no power of two is rounded up to one; NULL and EINVAL
 *                      when that is impossible
 *   valloc, pvalloc    a block that starts on a page; NULL and ENOMEM when the size of pvalloc
 *                      cannot be rounded up to whole pages
 *   posix_memalign     returns EINVAL, or ENOMEM, which is in errno then too; *memptr does not
 *                      change on failure
 *   free               keeps errno
 *   malloc_info        EINVAL for options other than 0; EIO when the stream fails
 *
 * and in its own way:
 *
 *   alignment          every block is aligned to 16 bytes
 *   mallopt            returns 1 for the parameters that glibc has, without effect, and 0 for others
 *   mallinfo2          arena     committed
 *                      uordblks  allocated
 *                      fordblks  committed - allocated
 *                      fsmblks   cached
 *                      keepcost  dirty: what malloc_trim could give back
 *                      ordblks   the number of slabs
 *                      hblks, hblkhd, smblks, usmblks   0
 *   mallinfo           the same; values that do not fit are INT_MAX
 *   malloc_stats       writes to file descriptor 2, with the parts of what is not returned
 *
 *   operator new       an alignment that is no power of two throws bad_alloc. The array, sized and
 *                      nothrow forms end in the plain forms, also when the program has its own.
 *
 *   libhz3.a           `new` of a fully static C++ program can throw bad_alloc if the program catches
 *                      it by that name, or uses anything of the C++ library that throws. Others
 *                      end with a message instead, unless they are linked with
 *                      -Wl,--undefined=_ZSt17__throw_bad_allocv. A program with a malloc or an
 *                      operator new of its own links libhz3.so, not libhz3.a.
 *
 * A pointer that another allocator gave out is passed on to that allocator's free, realloc or
 * malloc_usable_size. A pointer that nobody can have given out, or that was freed before, ends the
 * program with abort() and one line on the standard error stream.
 */

#ifdef __cplusplus
}
#endif

#endif
