//! Loom models of a scan for holes.
//!
//! **Opening a slab.** A scan skips a new slab until it has entered its bin. The model uses loom's
//! atomics with the orderings of the shipped code.
//!
//! **Purging holes.** The blocks of a hole are claimed while its page is purged, so a thread that
//! allocates gets none of them. The model uses the shipped slab. The lock of its bin is loom's, and
//! each page is a cell of loom's, which detects two threads inside at once. The main thread only
//! waits, because loom does not preempt it within its bound on preemptions.

use core::ptr::NonNull;
use core::sync::atomic::Ordering;
use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicU32, AtomicU64};
use loom::sync::{Arc, Mutex};
use std::vec::Vec;

use super::blocks::Blocks;
use super::slab::Slab;
use crate::base::size_class::SizeClass;
use crate::base::sync::Slot;
use crate::base::units::{CHUNK_PAGES, ChunkIndex, PAGE_BYTES, PageIndex, Run};
use crate::segment::models::ModelTables;
use crate::segment::tables::{BITMAP_WORDS, OBSERVE_CLASS, PUBLISH_CLASS};

/// Two blocks per page; three pages are in use before the model begins.
const BLOCK: usize = PAGE_BYTES / 2;
const USED_BLOCKS: usize = 6;
const USED_PAGES: usize = USED_BLOCKS * BLOCK / PAGE_BYTES;
/// The address of the slab. There is no memory; blocks are only numbers.
const START: usize = 1 << 20;
const DIRTY: u8 = 1;

struct World {
    tables: ModelTables,
    class: SizeClass,
    first: ChunkIndex,
    /// The lock of the slab's bin.
    lock: Mutex<()>,
    contents: [UnsafeCell<u8>; USED_PAGES],
}

// SAFETY: the tables are atomics; loom checks the accesses to the cells.
unsafe impl Sync for World {}
// SAFETY: as above.
unsafe impl Send for World {}

impl World {
    /// Makes a slab whose first pages were used, and whose blocks are all free again except the
    /// first.
    fn new() -> Arc<World> {
        let (tables, class) = (ModelTables::new(), SizeClass::of_size(BLOCK));
        let run = Run::new(PageIndex::new(CHUNK_PAGES), class.slab_pages());
        let first = Blocks::carve(&tables, run, class, 0);
        let contents = std::array::from_fn(|_| UnsafeCell::new(DIRTY));
        let world = World { tables, class, first, lock: Mutex::new(()), contents };
        let blocks = world.take::<USED_BLOCKS>();
        world.put(&blocks[..USED_BLOCKS - 1]);
        Arc::new(world)
    }

    fn slab(&self) -> &Slab {
        Slab::of(&self.tables, self.first)
    }

    fn blocks(&self) -> Blocks<'_> {
        Blocks::of(&self.tables, self.first, self.class)
    }

    /// Takes the lowest free blocks, the lowest one last, as `Central::fetch`.
    fn take<const COUNT: usize>(&self) -> [Slot; COUNT] {
        let out = std::array::from_fn(|_| Slot::new(core::ptr::null_mut()));
        let start = NonNull::new(core::ptr::without_provenance_mut(START)).unwrap();
        let _lock = self.lock.lock().unwrap();
        assert_eq!(self.blocks().take(start, &out), COUNT);
        out
    }

    fn put(&self, blocks: &[Slot]) {
        let _lock = self.lock.lock().unwrap();
        let count = self.blocks().put(START, blocks).unwrap();
        self.slab().set_free(self.slab().free() + count);
    }

    /// Purges the holes, as `purge::holes`.
    fn purge(&self) {
        let mut claimed = [0; BITMAP_WORDS];
        let holes = {
            let _lock = self.lock.lock().unwrap();
            self.blocks().claim_holes(1, 1, &mut claimed)
        };
        for (page, contents) in self.contents.iter().enumerate() {
            if holes >> page & 1 == 1 {
                // SAFETY: loom checks that no other thread is in the cell.
                contents.with_mut(|contents| unsafe { *contents = 0 });
            }
        }
        let _lock = self.lock.lock().unwrap();
        self.blocks().release_holes(&claimed, holes);
    }

    /// Takes blocks, writes to their pages, and puts them back.
    fn use_blocks<const COUNT: usize>(&self) {
        let blocks = self.take::<COUNT>();
        for block in &blocks {
            let page = (block.load(Ordering::Relaxed).addr() - START) / PAGE_BYTES;
            // While the lower blocks are claimed, blocks beyond those pages are taken.
            if let Some(contents) = self.contents.get(page) {
                // SAFETY: loom checks that no other thread is in the cell.
                contents.with_mut(|contents| unsafe { *contents = DIRTY });
            }
        }
        self.put(&blocks);
    }
}

/// Runs `purges` purges and a thread that uses blocks at once, on a new slab.
fn run(purges: usize) {
    loom::model(move || {
        let world = World::new();
        let mut threads: Vec<_> = (0..purges)
            .map(|_| {
                let world = Arc::clone(&world);
                loom::thread::spawn(move || world.purge())
            })
            .collect();
        let user = Arc::clone(&world);
        threads.push(loom::thread::spawn(move || user.use_blocks::<3>()));
        for thread in threads {
            thread.join().unwrap();
        }
        world.blocks().validate();
        assert_eq!(
            world.slab().free(),
            world.class.capacity() - 1,
            "a block was lost or put back twice"
        );
    });
}

#[test]
fn no_block_of_a_hole_is_handed_out_during_its_purge() {
    run(1);
}

#[test]
fn two_purges_and_a_user_share_no_page() {
    run(2);
}

/// The fields that a scan reads of a chunk whose former slab had dirty pages, and the bin.
struct Opening {
    class: AtomicU32,
    dirty: AtomicU64,
    /// Whether the slab is in the bin, protected by the bin's lock.
    is_entered: Mutex<bool>,
}

impl Opening {
    const CLASS: u32 = 1;

    /// Opens the slab, as `Blocks::carve` and `Central::open_slab`.
    fn open(&self) {
        self.dirty.store(0, Ordering::Relaxed);
        self.class.store(Self::CLASS, PUBLISH_CLASS);
        let mut is_entered = self.is_entered.lock().unwrap();
        self.dirty.store(1, Ordering::Relaxed);
        *is_entered = true;
    }

    fn may_have_holes(&self) -> bool {
        self.class.load(OBSERVE_CLASS) == Self::CLASS && self.dirty.load(Ordering::Relaxed) != 0
    }

    /// Scans the chunk, as `Central::claim_holes`.
    fn scan(&self) {
        if self.may_have_holes() {
            let is_entered = self.is_entered.lock().unwrap();
            if self.may_have_holes() {
                assert!(*is_entered, "the scan found a slab that is not in its bin");
            }
        }
    }
}

#[test]
fn a_scan_skips_a_slab_that_has_not_entered_its_bin() {
    loom::model(|| {
        let opening = Arc::new(Opening {
            class: AtomicU32::new(0),
            dirty: AtomicU64::new(1),
            is_entered: Mutex::new(false),
        });
        let scanner = Arc::clone(&opening);
        let scan = loom::thread::spawn(move || scanner.scan());
        opening.open();
        scan.join().unwrap();
    });
}
