//! Waiting for a condition, for the tests of what hz3 gives back by itself.

use std::thread;
use std::time::{Duration, Instant};

/// A test that waits longer hangs: by default hz3 gives memory back in less than a second.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Waits until `holds`, and returns whether it did within a minute. Neither allocates nor frees.
pub(crate) fn wait_until(mut holds: impl FnMut() -> bool) -> bool {
    let begin = Instant::now();
    while !holds() {
        if begin.elapsed() > TIMEOUT {
            return false;
        }
        thread::sleep(Duration::from_millis(20));
    }
    true
}
