//! Finds out whether a process or a descendant listens on a TCP or Unix socket.

use super::tree::Tree;
use procfs::process::{FDTarget, Process};
use std::collections::HashSet;

/// Returns whether `root` or a living descendant of it listens.
pub(crate) fn listens(root: i32) -> bool {
    Tree::attached(root).members().into_iter().any(owns_listener)
}

fn owns_listener(pid: i32) -> bool {
    let Ok(process) = Process::new(pid) else { return false };
    let Ok(descriptors) = process.fd() else { return false };
    let sockets: HashSet<u64> = descriptors
        .flatten()
        .filter_map(|descriptor| match descriptor.target {
            FDTarget::Socket(inode) => Some(inode),
            _ => None,
        })
        .collect();
    !sockets.is_empty() && listeners(&process).any(|inode| sockets.contains(&inode))
}

/// Returns the inodes of the listening sockets in the network namespace of `process`.
fn listeners(process: &Process) -> impl Iterator<Item = u64> {
    let tcp = process.tcp().into_iter().chain(process.tcp6()).flatten();
    let tcp = tcp.filter(|entry| entry.state == procfs::net::TcpState::Listen);
    let unix = std::fs::read_to_string(format!("/proc/{}/net/unix", process.pid()));
    tcp.map(|entry| entry.inode).chain(unix_listeners(&unix.unwrap_or_default()))
}

/// Returns the inodes of the listening Unix sockets. The columns are Num, `RefCount`, Protocol,
/// Flags, Type, St, Inode and Path.
fn unix_listeners(table: &str) -> Vec<u64> {
    /// `__SO_ACCEPTCON`.
    const ACCEPTS: u32 = 1 << 16;
    let inode = |line: &str| {
        let mut fields = line.split_whitespace().skip(3);
        let flags = u32::from_str_radix(fields.next()?, 16).ok()?;
        let inode = fields.nth(2)?.parse().ok()?;
        (flags & ACCEPTS != 0).then_some(inode)
    };
    table.lines().skip(1).filter_map(inode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_of_this_process_is_found() {
        let me = i32::try_from(std::process::id()).unwrap();
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(listens(me));
        drop(tcp);
        let directory = tempfile::tempdir().unwrap();
        let _unix = std::os::unix::net::UnixListener::bind(directory.path().join("s")).unwrap();
        assert!(listens(me));
        assert!(!listens(i32::MAX));
    }
}
