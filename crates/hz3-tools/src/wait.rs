//! Waiting for a condition of another process, which nothing announces.

use std::thread;
use std::time::{Duration, Instant};

/// Short, because some conditions hold for a few milliseconds only.
const PAUSE: Duration = Duration::from_millis(2);

/// Asks `ready` again and again until it says yes. Returns false if `limit` passes first.
pub fn wait_until(limit: Duration, mut ready: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    while !ready() {
        if start.elapsed() > limit {
            return false;
        }
        thread::sleep(PAUSE);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_condition_is_asked_until_it_holds_or_the_limit_passes() {
        let mut asked = 0;
        let third = || {
            asked += 1;
            asked == 3
        };
        assert!(wait_until(Duration::MAX, third));
        assert_eq!(asked, 3);
        assert!(!wait_until(Duration::ZERO, || false));
    }
}
