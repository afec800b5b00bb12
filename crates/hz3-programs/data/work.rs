//! Work for the end-to-end test of cargo: generic code to compile, and a program that allocates.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt::Write;
use std::sync::{mpsc, Arc, Mutex};
use std::thread;

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Tree {
    Leaf(u64),
    Node(Box<Tree>, Box<Tree>),
}

fn build(depth: u32, seed: u64) -> Tree {
    if depth == 0 {
        return Tree::Leaf(seed);
    }
    Tree::Node(Box::new(build(depth - 1, seed * 3 + 1)), Box::new(build(depth - 1, seed * 5 + 2)))
}

fn sum(tree: &Tree) -> u64 {
    match tree {
        Tree::Leaf(value) => value % 1009,
        Tree::Node(left, right) => sum(left) + sum(right),
    }
}

fn text(n: u64) -> String {
    let mut out = String::new();
    for i in 0..n {
        write!(out, "{i}-{} ", i * i % 97).unwrap();
    }
    out
}

fn main() {
    println!("made {}", env!("MADE"));
    println!("tree {}", sum(&build(14, 1)));
    let shared = Arc::new(Mutex::new(BTreeMap::new()));
    let (sender, receiver) = mpsc::channel::<(u64, Vec<String>)>();
    let workers: Vec<_> = (0..4)
        .map(|n| {
            let (shared, sender) = (Arc::clone(&shared), sender.clone());
            thread::spawn(move || {
                for round in 0..50 {
                    let words: Vec<String> = text(200 + n).split(' ').map(str::to_owned).collect();
                    shared.lock().unwrap().insert((n, round), words.len());
                    sender.send((n, words)).unwrap();
                }
            })
        })
        .collect();
    drop(sender);
    // The results of the workers are freed here.
    let mut counts: HashMap<u64, usize> = HashMap::new();
    let mut window = VecDeque::new();
    for (n, words) in receiver {
        *counts.entry(n).or_default() += words.iter().map(String::len).sum::<usize>();
        window.push_back(words);
        if window.len() > 20 {
            window.pop_front();
        }
    }
    for worker in workers {
        worker.join().unwrap();
    }
    let mut sorted: Vec<_> = counts.into_iter().collect();
    sorted.sort_unstable();
    println!("threads {sorted:?} {}", shared.lock().unwrap().len());
    let mut zeroed = vec![0u8; 50_000_000];
    zeroed[49_999_999] = 1;
    println!("zeroed {}", zeroed.iter().map(|b| u64::from(*b)).sum::<u64>());
}
