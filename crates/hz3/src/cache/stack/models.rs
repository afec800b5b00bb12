//! Loom models of an owner that pops and pushes while a thief steals. In every order each block
//! is taken exactly once. A `SeqCst` fence on both sides stands for the thief's barrier.

use super::{PADDING, Slot, Stack};
use crate::base::size_class::{MIN_ALIGN, SizeClass};
use core::cell::Cell;
use loom::sync::atomic::{AtomicPtr, AtomicUsize, Ordering, fence};
use loom::sync::{Arc, Mutex};
use loom::thread::JoinHandle;
use std::boxed::Box;

const SLOTS: usize = 4;

struct Cache {
    stack: Stack,
    lock: Mutex<()>,
    taken: [AtomicUsize; SLOTS],
}

impl Cache {
    fn with_blocks(blocks: usize) -> Arc<Cache> {
        let null = |_| AtomicPtr::new(std::ptr::null_mut());
        let array: &'static mut [Slot] = Box::leak((0..PADDING + SLOTS).map(null).collect());
        let floor = array.as_mut_ptr().wrapping_add(PADDING);
        let stack = Stack {
            newest: Cell::new(std::ptr::null_mut()),
            starts: SizeClass::of_size(MIN_ALIGN).start_test(),
            top: AtomicPtr::new(floor),
            gate: AtomicPtr::new(floor),
            base: AtomicPtr::new(floor),
            limit: AtomicPtr::new(floor.wrapping_add(SLOTS)),
            floor: AtomicPtr::new(floor),
        };
        let cache = Cache {
            stack,
            lock: Mutex::new(()),
            taken: std::array::from_fn(|_| AtomicUsize::new(0)),
        };
        for block in 0..blocks {
            // SAFETY: no other thread has the stack yet.
            assert!(unsafe { cache.stack.push(address(block)) });
        }
        Arc::new(cache)
    }

    fn count(&self, block: *mut u8) {
        self.taken[block.addr() / MIN_ALIGN - 1].fetch_add(1, Ordering::Relaxed);
    }

    /// The owner's pop with its cold path.
    fn pop(&self) -> Option<*mut u8> {
        // SAFETY: only the owner's thread of a model calls this.
        if let Some(block) = unsafe { self.stack.pop_sealed() } {
            return Some(block);
        }
        let _guard = self.lock.lock().unwrap();
        self.stack.undo_pop();
        if self.stack.len() == 0 {
            return None;
        }
        // As after a refill: under the lock a pop cannot lose.
        // SAFETY: as above.
        unsafe { self.stack.pop_sealed() }
    }

    /// The owner takes a block, if there is one.
    fn take_one(&self) {
        if let Some(block) = self.pop() {
            self.count(block);
        }
    }

    /// The owner's push with its cold path.
    fn push(&self, block: *mut u8) {
        // SAFETY: only the owner's thread of a model calls this.
        if unsafe { self.stack.push(block) } {
            return;
        }
        let _guard = self.lock.lock().unwrap();
        self.stack.set_capacity(SLOTS);
        // SAFETY: as above.
        unsafe { self.stack.compact() };
        // SAFETY: as above.
        assert!(unsafe { self.stack.push_checked(block) });
    }

    fn steal(&self) {
        let _guard = self.lock.lock().unwrap();
        let claim = self.stack.claim();
        // Pairs with the light fence of the owner's `pop`, which is one of these under loom.
        fence(Ordering::SeqCst);
        let batch = self.stack.settle(claim);
        // SAFETY: the lock is held, under which the batch was made.
        for slot in unsafe { batch.slots() } {
            self.count(slot.load(Ordering::Relaxed));
        }
    }

    fn set_sealed(&self, sealed: bool) {
        let _guard = self.lock.lock().unwrap();
        self.stack.set_sealed(sealed);
    }

    fn check(&self, blocks: usize) {
        while let Some(block) = self.pop() {
            self.count(block);
        }
        for block in 0..blocks {
            let times = self.taken[block].load(Ordering::Relaxed);
            assert_eq!(times, 1, "block {block} was taken {times} times");
        }
    }
}

fn address(block: usize) -> *mut u8 {
    std::ptr::without_provenance_mut((block + 1) * MIN_ALIGN)
}

/// Starts another thread that calls `act` on the cache.
fn beside(cache: &Arc<Cache>, act: fn(&Cache)) -> JoinHandle<()> {
    let cache = Arc::clone(cache);
    loom::thread::spawn(move || act(&cache))
}

#[test]
fn a_pop_and_a_steal_never_take_the_same_block() {
    loom::model(|| {
        let cache = Cache::with_blocks(2);
        let thief = beside(&cache, Cache::steal);
        for _ in 0..2 {
            cache.take_one();
        }
        thief.join().unwrap();
        cache.check(2);
    });
}

#[test]
fn blocks_pushed_during_a_steal_are_not_lost() {
    loom::model(|| {
        let cache = Cache::with_blocks(2);
        let thief = beside(&cache, Cache::steal);
        cache.take_one();
        // SAFETY: this thread is the owner.
        assert!(unsafe { cache.stack.push(address(2)) });
        thief.join().unwrap();
        cache.check(3);
    });
}

#[test]
fn blocks_pushed_while_the_slow_path_is_armed_are_not_lost() {
    loom::model(|| {
        let cache = Cache::with_blocks(2);
        let thief = beside(&cache, |cache| {
            cache.steal();
            let _guard = cache.lock.lock().unwrap();
            cache.stack.arm_at_top();
        });
        cache.push(address(2));
        cache.push(address(3));
        thief.join().unwrap();
        cache.check(4);
    });
}

/// The thief may claim the first block and then read the `top` that the last pop lowered to the
/// slot of the first push. The first block lay in that slot before. The owner is a thread of its
/// own, because loom preempts the main thread last.
#[test]
fn a_block_below_one_that_was_popped_during_a_steal_is_not_lost() {
    loom::model(|| {
        let cache = Cache::with_blocks(1);
        let owner = beside(&cache, |cache| {
            let first = cache.pop();
            cache.push(address(1));
            cache.push(address(2));
            for block in [first, cache.pop()].into_iter().flatten() {
                cache.count(block);
            }
        });
        let thief = beside(&cache, Cache::steal);
        owner.join().unwrap();
        thief.join().unwrap();
        cache.check(3);
    });
}

/// The owner pops, and pushes two blocks, during a steal.
fn push_during_a_steal(is_sealed: bool) {
    loom::model(move || {
        let cache = Cache::with_blocks(2);
        if is_sealed {
            cache.set_sealed(true);
        }
        let thief = beside(&cache, Cache::steal);
        if let Some(block) = cache.pop() {
            cache.push(block);
        }
        cache.push(address(2));
        for _ in 0..2 {
            cache.take_one();
        }
        thief.join().unwrap();
        cache.check(3);
    });
}

/// A pop returns the stack's copy of the newest block, which a steal does not update.
#[test]
fn after_a_steal_the_owner_pops_the_blocks_that_it_pushed_since() {
    push_during_a_steal(false);
}

#[test]
fn pushes_that_do_not_see_the_armed_limit_yet_stay_within_the_array() {
    loom::model(|| {
        let cache = Cache::with_blocks(1);
        let arming = beside(&cache, |cache| {
            let _guard = cache.lock.lock().unwrap();
            cache.stack.arm_at_top();
        });
        for block in 1..SLOTS {
            cache.push(address(block));
        }
        arming.join().unwrap();
        let _guard = cache.lock.lock().unwrap();
        cache.stack.set_capacity(SLOTS);
        assert_eq!(cache.stack.len(), SLOTS);
        drop(_guard);
        cache.check(SLOTS);
    });
}

#[test]
fn two_thieves_and_the_owner_take_each_block_once() {
    loom::model(|| {
        let cache = Cache::with_blocks(2);
        let thieves = [(); 2].map(|()| beside(&cache, Cache::steal));
        cache.take_one();
        for thief in thieves {
            thief.join().unwrap();
        }
        cache.check(2);
    });
}

/// The steal of a thread that did not seal the stack: only the lock orders the two.
#[test]
fn a_stack_that_is_sealed_and_stolen_from_gives_each_block_once() {
    loom::model(|| {
        let cache = Cache::with_blocks(2);
        let profile = beside(&cache, |cache| cache.set_sealed(true));
        let thief = beside(&cache, Cache::steal);
        for _ in 0..2 {
            cache.take_one();
        }
        profile.join().unwrap();
        thief.join().unwrap();
        cache.check(2);
    });
}

#[test]
fn blocks_pushed_during_a_steal_from_a_sealed_stack_are_not_lost() {
    push_during_a_steal(true);
}

#[test]
fn a_stack_that_is_unsealed_between_a_pop_and_its_end_gives_each_block_once() {
    loom::model(|| {
        let cache = Cache::with_blocks(2);
        cache.set_sealed(true);
        let profile = beside(&cache, |cache| {
            cache.set_sealed(false);
            cache.steal();
        });
        for _ in 0..2 {
            cache.take_one();
        }
        profile.join().unwrap();
        cache.check(2);
    });
}
