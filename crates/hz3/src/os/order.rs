//! Checks the order in which the calling thread takes locks, in tests and with the feature `check`.
//!
//! A thread that waits for a lock may hold only locks of lower ranks, because two threads that
//! break the order could wait for each other. `try_lock` may break the order, because it never
//! waits. In other builds the functions do nothing. [`super::lock_list`] has the locks that the
//! thread holds.

#[cfg(any(test, feature = "check"))]
use checked as this;
#[cfg(not(any(test, feature = "check")))]
use unchecked as this;

/// Checks the order. Called before the thread waits for a lock.
#[inline(always)]
pub(super) fn check_may_wait<const RANK: u8>(lock: usize) {
    this::check_may_wait(RANK, lock);
}

/// Records that the thread has taken a lock.
#[inline(always)]
pub(super) fn taken<const RANK: u8>(lock: usize) {
    this::taken(RANK, lock);
}

/// Records that the thread releases a lock.
#[inline(always)]
pub(super) fn released(lock: usize) {
    this::released(lock);
}

/// Checks that the thread holds no lock that an allocation may wait for. Called before a call to
/// `what`, a function outside hz3 that may allocate.
#[inline(always)]
pub(crate) fn check_may_call(what: &str) {
    this::check_may_call(what);
}

#[cfg(not(any(test, feature = "check")))]
mod unchecked {
    pub(super) fn check_may_wait(_rank: u8, _lock: usize) {}
    pub(super) fn taken(_rank: u8, _lock: usize) {}
    pub(super) fn released(_lock: usize) {}
    pub(super) fn check_may_call(_what: &str) {}
}

#[cfg(any(test, feature = "check"))]
mod checked {
    use core::fmt::Write;

    use crate::base::fixed_buffer::FixedBuffer;
    use crate::os::fatal::fatal;
    use crate::os::lock_list::{is_outside, list};
    use crate::os::{held, rank};

    pub(super) fn check_may_wait(rank: u8, lock: usize) {
        for &(present, other) in list().locks() {
            // Two bins are locked in the order of their shards, which is the order of their
            // addresses.
            let in_order = present < rank || (rank == rank::BIN && present == rank && other < lock);
            if !in_order {
                report("takes the lock", rank::name(rank), present, lock);
            }
        }
    }

    pub(super) fn taken(rank: u8, lock: usize) {
        if !list().add(rank, lock) {
            fatal("a thread holds too many locks", lock);
        }
    }

    pub(super) fn released(lock: usize) {
        if !list().remove(lock) {
            fatal("a thread releases a lock that it does not hold", lock);
        }
    }

    pub(super) fn check_may_call(what: &str) {
        for &(present, lock) in list().locks() {
            if !is_outside(present) {
                report("calls", what, present, lock);
            }
        }
        if held::is_inside() {
            fatal("internal error: locks are counted wrongly", 0);
        }
    }

    #[cold]
    fn report(does: &str, what: &str, present: u8, lock: usize) -> ! {
        let mut line = FixedBuffer::<128>::new();
        let present = rank::name(present);
        // Writing to a `FixedBuffer` never fails.
        let _ = write!(line, "internal error: a thread {does} `{what}` while it holds `{present}`");
        fatal(core::str::from_utf8(line.as_bytes()).unwrap_or(does), lock)
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::string::String;

    use crate::os::lock::Lock;
    use crate::os::rank::{BIN, CACHE, PAGES};

    /// Runs itself again for each breach, because a breach ends the process.
    #[test]
    fn a_breach_of_the_order_ends_the_process() {
        const BREACH: &str = "HZ3_TEST_BREACH";
        let (bin, pages) = (Lock::<_, BIN>::new(()), Lock::<_, PAGES>::new(()));
        match std::env::var(BREACH).as_deref() {
            Ok("order") => {
                let _pages = pages.lock();
                drop(bin.lock());
            }
            Ok("twice") => {
                let caches = [const { Lock::<_, CACHE>::new(()) }; 2];
                let _cache = caches[0].lock();
                drop(caches[1].lock());
            }
            Ok("call") => {
                let _bin = bin.lock();
                super::check_may_call("pthread_create");
            }
            _ => {
                for (breach, line) in [
                    ("order", "takes the lock `bin` while it holds `pages`"),
                    ("twice", "takes the lock `cache` while it holds `cache`"),
                    ("call", "calls `pthread_create` while it holds `bin`"),
                ] {
                    let itself = std::env::current_exe().expect("the test knows its own path");
                    let test = "os::order::tests::a_breach_of_the_order_ends_the_process";
                    let mut again = Command::new(itself);
                    let done = again.args([test, "--exact"]).env(BREACH, breach).output();
                    let done = done.expect("the test runs again");
                    let text = String::from_utf8_lossy(&done.stderr);
                    assert!(!done.status.success() && text.contains(line), "{breach}: {text}");
                }
                let _bin = bin.lock();
                drop(pages.lock());
            }
        }
    }
}
