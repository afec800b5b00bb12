//! The locks that the calling thread holds, in tests and with the feature `check`.

/// Returns the name of a lock that the thread holds and that an allocation may wait for; `None` in
/// builds without the list.
///
/// Called before the process ends because of a fault: a handler of SIGABRT may wait for other
/// threads, which may wait for that lock.
pub(super) fn held_name() -> Option<&'static str> {
    #[cfg(any(test, feature = "check"))]
    return list().held_name();
    #[cfg(not(any(test, feature = "check")))]
    None
}

#[cfg(any(test, feature = "check"))]
pub(super) use kept::{is_outside, list};

#[cfg(any(test, feature = "check"))]
mod kept {
    use crate::os::rank;
    use crate::os::static_tls::static_tls;

    /// The most locks that a thread may hold at once.
    const MAX_HELD: usize = 16;

    /// The ranks and the addresses of the locks, in the order in which the thread took them. All
    /// zeros if it holds none.
    pub(in crate::os) struct List {
        count: usize,
        locks: [(u8, usize); MAX_HELD],
    }

    static_tls! {
        /// The list of each thread.
        struct Lists: [List; 1] = [List { count: 0, locks: [(0, 0); MAX_HELD] }];
        "__hz3_lock_list", ".tbss.hz3_lock_list,\"awT\",%nobits",
        [".zero {bytes}"], []
    }

    /// Returns the calling thread's list. Each caller drops the reference before the next call.
    pub(in crate::os) fn list<'a>() -> &'a mut List {
        // SAFETY: it is this thread's list, which is valid when zero or written by this module, and
        // each caller drops the reference before the next call.
        unsafe { &mut *Lists::address() }
    }

    /// Returns whether no allocation waits for a lock of this rank.
    pub(in crate::os) fn is_outside(rank: u8) -> bool {
        rank == rank::AGEING || rank == rank::PURGING
    }

    impl List {
        pub(in crate::os) fn locks(&self) -> &[(u8, usize)] {
            &self.locks[..self.count]
        }

        /// Adds a lock; returns false if the list is full.
        pub(in crate::os) fn add(&mut self, rank: u8, lock: usize) -> bool {
            let Some(free) = self.locks.get_mut(self.count) else { return false };
            *free = (rank, lock);
            self.count += 1;
            true
        }

        /// Removes a lock; returns false if it is not in the list.
        pub(in crate::os) fn remove(&mut self, lock: usize) -> bool {
            let Some(at) = self.locks().iter().rposition(|&(_, other)| other == lock) else {
                return false;
            };
            self.locks.copy_within(at + 1..self.count, at);
            self.count -= 1;
            true
        }

        pub(super) fn held_name(&self) -> Option<&'static str> {
            let mut ranks = self.locks().iter().map(|&(rank, _)| rank);
            ranks.find(|&rank| !is_outside(rank)).map(rank::name)
        }
    }
}
