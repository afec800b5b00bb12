//! A list that only grows. One thread at a time adds members; any thread reads without a lock.

use core::sync::atomic::Ordering;

use super::sync::AtomicPtr;

/// A type with the link of one list.
pub(crate) trait Member: Sized {
    /// Returns the link to the next member, which does not change once this one is in the list.
    fn next(&self) -> &AtomicPtr<Self>;
}

/// The list, newest first. Members live for ever.
#[derive(Debug)]
pub(crate) struct List<T> {
    head: AtomicPtr<T>,
}

impl<T: Member + 'static> List<T> {
    #[cfg(not(loom))]
    pub(crate) const fn new() -> List<T> {
        List { head: AtomicPtr::new(core::ptr::null_mut()) }
    }

    #[cfg(loom)]
    pub(crate) fn new() -> List<T> {
        List { head: AtomicPtr::new(core::ptr::null_mut()) }
    }

    /// Adds a member, whose contents are complete except for the link.
    ///
    /// The caller ensures that no other thread adds one at the same time.
    pub(crate) fn push(&self, member: &'static T) {
        member.next().store(self.head.load(Ordering::Relaxed), Ordering::Relaxed);
        // Release pairs with the acquire load in `iter`.
        self.head.store(core::ptr::from_ref(member).cast_mut(), Ordering::Release);
    }

    /// Returns the member behind another one, which is in a list.
    #[cfg(not(loom))]
    pub(crate) fn after(member: &'static T) -> Option<&'static T> {
        let next = member.next().load(Ordering::Relaxed);
        // SAFETY: the pointer is null or leads to a member, which lives for ever.
        unsafe { next.as_ref() }
    }

    /// Iterates over the members present at the call, newest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &'static T> + use<T> {
        // Acquire pairs with the release store in `push`.
        let mut next = self.head.load(Ordering::Acquire);
        core::iter::from_fn(move || {
            // SAFETY: the pointer is null or leads to a member, which lives for ever.
            let member = unsafe { next.as_ref() }?;
            next = member.next().load(Ordering::Relaxed);
            Some(member)
        })
    }
}

#[cfg(all(loom, test))]
mod tests {
    //! The model: two threads add members under a lock, and a third reads. The reader finds each
    //! member complete, and with it all older members. The main thread only waits, because loom
    //! does not preempt it when preemptions are bounded.

    use super::{List, Member};
    use loom::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
    use loom::sync::{Arc, Mutex};
    use std::boxed::Box;
    use std::vec::Vec;

    struct Item {
        next: AtomicPtr<Item>,
        /// Written before the item is added.
        contents: AtomicUsize,
    }

    impl Member for Item {
        fn next(&self) -> &AtomicPtr<Item> {
            &self.next
        }
    }

    fn add(list: &List<Item>, lock: &Mutex<()>) {
        let item = Box::new(Item {
            next: AtomicPtr::new(core::ptr::null_mut()),
            contents: AtomicUsize::new(0),
        });
        item.contents.store(1, Ordering::Relaxed);
        let _lock = lock.lock().unwrap();
        list.push(Box::leak(item));
    }

    fn read(list: &List<Item>) -> usize {
        list.iter()
            .map(|item| item.contents.load(Ordering::Relaxed))
            .map(|found| {
                assert_eq!(found, 1, "a member was found before its contents");
                found
            })
            .sum()
    }

    #[test]
    fn a_reader_finds_every_member_complete() {
        loom::model(|| {
            let shared = Arc::new((List::new(), Mutex::new(())));
            let writers: Vec<_> = (0..2)
                .map(|_| {
                    let shared = Arc::clone(&shared);
                    loom::thread::spawn(move || add(&shared.0, &shared.1))
                })
                .collect();
            let reader = {
                let shared = Arc::clone(&shared);
                loom::thread::spawn(move || {
                    let first = read(&shared.0);
                    assert!(read(&shared.0) >= first, "a member is gone");
                })
            };
            reader.join().unwrap();
            for writer in writers {
                writer.join().unwrap();
            }
            assert_eq!(read(&shared.0), 2);
        });
    }
}
