//! The model of the hand-over of free pages between the purge and an allocating thread. Pages that
//! are being purged are off the free map, so no thread gets one of them, and no page in use is
//! purged.
//!
//! The page heap and its tables are those that ship. Their lock is loom's, and each page is a cell
//! of loom's, which detects two threads inside at once. The main thread only waits, because loom,
//! with its bound on preemptions, does not preempt it.

use core::ops::Deref;
use core::ptr::NonNull;
use loom::cell::UnsafeCell;
use loom::sync::{Arc, Mutex};
use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::vec::Vec;

use super::list_layout::{ListBits, list_bits_for};
use super::meta::{Age, SegmentMeta};
use super::pages::{Fit, PageHeap};
use super::tables::{Bitmap, CHUNK_META_BYTES, ClassEntry, PageRecord, Tables};
use crate::base::units::{CHUNK_PAGES, PageIndex, Pages, Run, SEGMENT_PAGES, to_usize};

/// The tables of an arena of one segment, on ordinary memory.
pub(crate) struct ModelTables {
    tables: Tables,
    memory: [(NonNull<u8>, Layout); 6],
}

impl ModelTables {
    pub(crate) fn new() -> ModelTables {
        let chunks = to_usize(SEGMENT_PAGES / CHUNK_PAGES);
        let records = to_usize(SEGMENT_PAGES) * size_of::<PageRecord>();
        let bitmaps = chunks * size_of::<Bitmap>();
        let class_map = chunks * size_of::<ClassEntry>();
        let (meta, list_bits) =
            (size_of::<SegmentMeta>(), list_bits_for(1) * size_of::<ListBits>());
        let sizes = [class_map, records, chunks * CHUNK_META_BYTES, bitmaps, meta, list_bits];
        let memory = sizes.map(|bytes| {
            let layout = Layout::from_size_align(bytes, 64).unwrap();
            // SAFETY: the layout is not empty.
            (NonNull::new(unsafe { alloc_zeroed(layout) }).unwrap(), layout)
        });
        let tables = Tables {
            class_map: memory[0].0.cast(),
            records: memory[1].0.cast(),
            chunks: memory[2].0,
            bitmaps: memory[3].0.cast(),
            segments: memory[4].0.cast(),
            list_bits: memory[5].0.cast(),
            pages: SEGMENT_PAGES,
        };
        ModelTables { tables, memory }
    }
}

impl Deref for ModelTables {
    type Target = Tables;
    fn deref(&self) -> &Tables {
        &self.tables
    }
}

impl Drop for ModelTables {
    fn drop(&mut self) {
        for (start, layout) in self.memory {
            // SAFETY: allocated by `new` with this layout.
            unsafe { dealloc(start.as_ptr(), layout) };
        }
    }
}

/// Number of pages of the model, from the first one that an arena hands out.
const PAGES: u32 = 4;
const FIRST: PageIndex = PageIndex::new(CHUNK_PAGES);
const END: PageIndex = PageIndex::new(CHUNK_PAGES + PAGES);
const DIRTY: u8 = 1;

struct World {
    tables: ModelTables,
    heap: Mutex<PageHeap>,
    contents: [UnsafeCell<u8>; PAGES as usize],
}

// SAFETY: the tables are atomics, guarded by the lock; loom checks the accesses to the cells.
unsafe impl Sync for World {}
// SAFETY: as above.
unsafe impl Send for World {}

impl World {
    /// Makes a world in which all pages are free and dirty.
    fn new() -> Arc<World> {
        let tables = ModelTables::new();
        let mut heap = PageHeap::new();
        let all = Run::new(FIRST, Pages::new(PAGES));
        heap.give(&tables, all, all.pages, END);
        let contents = std::array::from_fn(|_| UnsafeCell::new(DIRTY));
        Arc::new(World { tables, heap: Mutex::new(heap), contents })
    }

    fn each_page(&self, run: Run, mut visit: impl FnMut(&mut u8)) {
        for page in run.start.get()..run.end().get() {
            let cell = &self.contents[to_usize(page - FIRST.get())];
            // SAFETY: loom checks that no other thread is in the cell.
            cell.with_mut(|contents| visit(unsafe { &mut *contents }));
        }
    }

    /// Purges one range, as `purge::free_pages` does.
    fn purge(&self) {
        let run = {
            let mut heap = self.heap.lock().unwrap();
            let Some(run) = self.tables.next_free_dirty(FIRST, END, Pages::new(PAGES), Age::Any)
            else {
                return;
            };
            heap.withdraw(&self.tables, run);
            run
        };
        self.each_page(run, |contents| *contents = 0);
        let mut heap = self.heap.lock().unwrap();
        self.tables.set_clean(run);
        heap.put_back(&self.tables, run, END);
    }

    /// Takes pages, writes and checks them, and gives them back.
    fn use_pages(&self, pages: u32, stamp: u8) {
        let taken = self.heap.lock().unwrap().take(&self.tables, Pages::new(pages), Fit::Any);
        let Some(run) = taken else { return };
        self.each_page(run, |contents| *contents = stamp);
        loom::thread::yield_now();
        self.each_page(run, |contents| {
            assert_eq!(*contents, stamp, "a page in use was purged, or handed out twice");
        });
        self.heap.lock().unwrap().give(&self.tables, run, run.pages, END);
    }
}

fn run(users: &[u32]) {
    let users: Vec<u32> = users.to_vec();
    loom::model(move || {
        let world = World::new();
        let mut threads: Vec<_> = (2u8..)
            .zip(users.clone())
            .map(|(stamp, pages)| {
                let world = Arc::clone(&world);
                loom::thread::spawn(move || world.use_pages(pages, stamp))
            })
            .collect();
        let purge = Arc::clone(&world);
        threads.push(loom::thread::spawn(move || purge.purge()));
        for thread in threads {
            thread.join().unwrap();
        }
        let heap = world.heap.lock().unwrap();
        heap.validate(&world.tables, FIRST, END);
        assert_eq!((heap.free_pages(), heap.withdrawn_pages()), (u64::from(PAGES), 0));
    });
}

#[test]
fn a_page_being_purged_is_not_handed_out() {
    run(&[2]);
}

#[test]
fn two_threads_use_pages_during_a_purge() {
    run(&[1, 2]);
}
