//! The processes of a command: its first one and all descendants.
//!
//! A process belongs if its parent does. This program is a subreaper (see [`adopt_orphans`]), so a
//! child whose parent has ended becomes ours and is still found. Each process is judged once, when
//! it is first seen; later samples only read the directory `/proc`. Processes that ran before the
//! command, including those that earlier commands left behind, do not belong.

use crate::failure::{Failure, Result};
use procfs::process::Process;
use std::collections::HashMap;

/// The process tree below one root.
#[derive(Debug)]
pub(crate) struct Tree {
    root: i32,
    us: i32,
    /// Every process seen so far and whether it belongs.
    judged: HashMap<i32, bool>,
}

/// Makes this process the parent of its orphaned descendants.
pub(crate) fn adopt_orphans() -> Result<()> {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .map_err(|e| Failure::io("become the parent of orphaned processes", e))
}

/// The processes that ran before a command was started.
#[derive(Debug)]
pub(crate) struct Before(Vec<i32>);

impl Before {
    /// Lists all processes that run now.
    pub(crate) fn now() -> Self {
        Self(running().collect())
    }
}

impl Tree {
    /// Starts the tree of `root`, which was started after `before` was taken.
    pub(crate) fn of(root: i32, before: Before) -> Self {
        let us = rustix::process::getpid().as_raw_pid();
        let mut judged: HashMap<i32, bool> = before.0.into_iter().map(|pid| (pid, false)).collect();
        judged.insert(root, true);
        Self { root, us, judged }
    }

    /// Starts the tree of a running process: `root` and its present and future descendants.
    pub(crate) fn attached(root: i32) -> Self {
        let us = rustix::process::getpid().as_raw_pid();
        let mut judged = HashMap::from([(us, false), (root, true)]);
        let mut unjudged: Vec<(i32, i32)> =
            running().filter_map(|pid| parent(pid).map(|parent| (pid, parent))).collect();
        unjudged.retain(|(pid, _)| !judged.contains_key(pid));
        loop {
            let before = unjudged.len();
            unjudged.retain(|(pid, parent)| {
                let belongs = judged.get(parent) == Some(&true);
                if belongs {
                    judged.insert(*pid, true);
                }
                !belongs
            });
            if unjudged.len() == before {
                break;
            }
        }
        judged.extend(unjudged.into_iter().map(|(pid, _)| (pid, false)));
        Self { root, us, judged }
    }

    pub(crate) fn root(&self) -> i32 {
        self.root
    }

    /// Returns the living members, including the root if it lives.
    pub(crate) fn members(&mut self) -> Vec<i32> {
        let mut running: Vec<i32> = running().collect();
        // Parents usually have the lower number, so one ascending pass settles most chains.
        running.sort_unstable();
        let us = self.us;
        self.judged.retain(|pid, _| running.binary_search(pid).is_ok());
        let mut unjudged: Vec<(i32, i32)> = running
            .iter()
            .filter(|pid| **pid != us && !self.judged.contains_key(pid))
            .filter_map(|&pid| parent(pid).map(|parent| (pid, parent)))
            .collect();
        while self.admit_children(&mut unjudged) {}
        self.judged.extend(unjudged.into_iter().map(|(pid, _)| (pid, false)));
        running.retain(|pid| self.judged.get(pid) == Some(&true));
        running
    }

    /// Admits every new process whose parent belongs; returns whether there was one.
    fn admit_children(&mut self, unjudged: &mut Vec<(i32, i32)>) -> bool {
        let before = unjudged.len();
        unjudged.retain(|&(pid, parent)| {
            let belongs = parent == self.us || self.judged.get(&parent) == Some(&true);
            if belongs {
                self.judged.insert(pid, true);
            }
            !belongs
        });
        unjudged.len() < before
    }
}

fn running() -> impl Iterator<Item = i32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn parent(pid: i32) -> Option<i32> {
    Some(Process::new(pid).ok()?.stat().ok()?.ppid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    #[test]
    fn a_grandchild_belongs_and_a_stranger_does_not() {
        let mut stranger = Command::new("sleep").arg("60").spawn().unwrap();
        let before = Before::now();
        let mut child = Command::new("sh")
            .args(["-c", "sleep 60 & echo $!; read wait"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let grandchild: i32 = line.trim().parse().unwrap();

        let root = i32::try_from(child.id()).unwrap();
        let mut tree = Tree::of(root, before);
        let members = tree.members();
        Command::new("kill").arg(grandchild.to_string()).status().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        stranger.kill().unwrap();
        stranger.wait().unwrap();

        assert!(members.contains(&root) && members.contains(&grandchild), "{members:?}");
        assert!(!members.contains(&i32::try_from(stranger.id()).unwrap()), "{members:?}");
        assert!(!tree.members().contains(&root), "the dead are no members");
    }
}
