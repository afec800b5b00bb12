//! Runs the threads of a workload: common start, common timing, results added up.

use super::barrier::AbortableBarrier;
use super::block::Fault;
use super::heap::{Heap, Latency};
use crate::failure::{CHECK_FAILED, Failure, Result};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The result of one pass of a workload.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    /// Calls of malloc and free (and realloc), each one operation.
    pub(crate) operations: u64,
    /// From the first thread's start to the last one's end, idle times excluded.
    pub(crate) elapsed: Duration,
    /// Further named figures.
    pub(crate) details: serde_json::Map<String, serde_json::Value>,
    /// The latencies of all heaps.
    pub(crate) latency: Option<Latency>,
}

impl Totals {
    /// Adds a named figure.
    pub(crate) fn note(&mut self, name: &str, value: impl Into<serde_json::Value>) {
        self.details.insert(name.to_owned(), value.into());
    }

    /// Returns operations per second.
    pub(crate) fn rate(&self) -> f64 {
        self.operations as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }

    /// Adds the latencies of one heap.
    pub(crate) fn absorb(&mut self, latency: Option<Latency>) {
        match (&mut self.latency, latency) {
            (Some(mine), Some(theirs)) => {
                mine.malloc.merge(&theirs.malloc);
                mine.free.merge(&theirs.free);
            }
            (mine @ None, theirs) => *mine = theirs,
            (Some(_), None) => {}
        }
    }
}

/// The result of one thread.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Share {
    pub(crate) operations: u64,
    /// A count whose meaning the workload defines.
    pub(crate) special: u64,
    /// The end of the timed part, if that is before the thread's end.
    pub(crate) end: Option<Instant>,
}

/// Runs one thread per element of `lanes`. All threads start together. Each calls `work` with its
/// index, its heap, its lane, and the barrier. Returns the totals and the sum of the `special`
/// counts. If the system refuses a thread, none of them works.
pub(crate) fn run<H: Heap, L: Send>(
    lanes: Vec<L>,
    work: impl Fn(usize, &mut H, L, &AbortableBarrier) -> Result<Share, Fault> + Sync,
) -> Result<(Totals, u64)> {
    let barrier = AbortableBarrier::new(lanes.len());
    let heaps = (0..lanes.len()).map(H::open).collect::<Result<Vec<H>>>()?;
    let count = lanes.len();
    let (may_start, work) = (&Mutex::new(true), &work);
    let ends: Vec<Option<End<H>>> = std::thread::scope(|scope| {
        // While this lock is held, no thread gets to the barrier and waits for all others there.
        let mut starts = lock(may_start);
        let mut threads = Vec::with_capacity(count);
        for (index, (lane, heap)) in lanes.into_iter().zip(heaps).enumerate() {
            let barrier = &barrier;
            let thread = std::thread::Builder::new().spawn_scoped(scope, move || {
                let starts = *lock(may_start);
                starts.then(|| run_one(index, heap, lane, barrier, work))
            });
            match thread {
                Ok(thread) => threads.push(thread),
                Err(error) => {
                    *starts = false;
                    return Err(Failure::io(
                        format!("start thread {} of {count}", index + 1),
                        error,
                    ));
                }
            }
        }
        drop(starts);
        threads.into_iter().map(join).collect()
    })?;
    let ends = ends.into_iter().flatten().collect();
    // The heaps live until here, because another thread may hold a block of one to the end.
    add_up(ends)
}

/// The end of one thread.
struct End<H> {
    done: Result<Share, Fault>,
    start: Instant,
    stop: Instant,
    heap: H,
}

fn lock(may_start: &Mutex<bool>) -> std::sync::MutexGuard<'_, bool> {
    // No holder panics.
    may_start.lock().unwrap_or_else(PoisonError::into_inner)
}

fn run_one<H: Heap, L>(
    index: usize,
    mut heap: H,
    lane: L,
    barrier: &AbortableBarrier,
    work: impl Fn(usize, &mut H, L, &AbortableBarrier) -> Result<Share, Fault>,
) -> End<H> {
    barrier.wait();
    let start = Instant::now();
    let done = work(index, &mut heap, lane, barrier);
    let stop = Instant::now();
    if done.is_err() {
        barrier.abort();
    }
    End { done, start, stop, heap }
}

fn join<T>(thread: std::thread::ScopedJoinHandle<'_, T>) -> Result<T> {
    thread.join().map_err(|_| Failure::new("a thread of the workload panicked"))
}

fn add_up<H: Heap>(ends: Vec<End<H>>) -> Result<(Totals, u64)> {
    let faults = ends.iter().filter_map(|end| end.done.err());
    // Most threads of a failed run stop only because another one failed.
    if let Some(fault) = faults.min_by_key(|fault| *fault == Fault::Abandoned) {
        return Err(check_failure(fault));
    }
    let mut totals = Totals::default();
    let mut special = 0;
    let start = ends.iter().map(|end| end.start).min();
    let mut last = None;
    for End { done, stop, heap, .. } in ends {
        let share = done.map_err(check_failure)?;
        totals.operations += share.operations;
        special += share.special;
        last = last.max(share.end.or(Some(stop)));
        totals.absorb(heap.into_latency());
    }
    totals.elapsed = start.zip(last).map(|(start, end)| end - start).unwrap_or_default();
    Ok((totals, special))
}

/// Converts a fault to a failure of the program.
pub(crate) fn check_failure(fault: Fault) -> Failure {
    if let Fault::NoThread { error } = fault {
        return Failure::io("start a thread", std::io::Error::from_raw_os_error(error));
    }
    Failure::new(format!("the allocator failed the workload's check: {fault}"))
        .with_code(CHECK_FAILED)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workloads::support::heap::Plain;

    #[test]
    fn shares_are_added_up() {
        let (totals, special) = run::<Plain, u64>(vec![1, 2, 3], |index, _, lane, _| {
            Ok(Share { operations: lane, special: index as u64, end: None })
        })
        .unwrap();
        assert_eq!((totals.operations, special), (6, 3));
    }

    #[test]
    fn a_fault_of_one_thread_fails_the_run() {
        let failure = run::<Plain, u32>(vec![0, 1], |_, _, lane, barrier| {
            if lane == 1 {
                return Err(Fault::Exhausted { size: 77 });
            }
            while !barrier.is_aborted() {
                std::thread::yield_now();
            }
            Err(Fault::Abandoned)
        })
        .unwrap_err();
        assert!(failure.to_string().contains("malloc(77)"), "{failure}");
        assert_eq!(failure.code(), CHECK_FAILED);
    }
}
