//! A free port on the loopback interface.

use std::net::{Ipv4Addr, TcpListener};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::{Failure, Result};

/// Below the range that Linux gives to outgoing connections (32768 and up). No client of another
/// test can therefore take the port between this call and the server's bind.
const FIRST: u32 = 20_000;
const COUNT: u32 = 12_000;

/// Returns a port on 127.0.0.1 that nobody listens on, never the same twice in this process.
///
/// # Errors
/// When no port is free.
pub fn free_port() -> Result<u16> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    for _ in 0..COUNT {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        // Processes start at different places, so that two test runs rarely meet.
        let offset = (process::id().wrapping_mul(97) % COUNT + step) % COUNT;
        let port = u16::try_from(FIRST + offset)?;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    Err(Failure::new("no free port on 127.0.0.1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_differ_and_can_be_listened_on() {
        let (a, b) = (free_port().expect("a port"), free_port().expect("a port"));
        assert_ne!(a, b);
        assert!(TcpListener::bind((Ipv4Addr::LOCALHOST, a)).is_ok());
    }
}
