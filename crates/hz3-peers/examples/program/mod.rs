//! The work of a Rust program on its global allocator: three jobs, of which the first argument
//! names one.

use rayon::prelude::*;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write;

/// Runs one job and checks a figure that depends on all of its work, the same with every allocator.
pub(crate) fn main() {
    let (figure, expected) = match std::env::args().nth(1).as_deref() {
        Some("json") => (json(), 500_000),
        Some("map") => (map(), 83_983_669),
        Some("fan-out") => (fan_out(), 1_593_000_000),
        _ => {
            eprintln!("usage: one of json, map, fan-out");
            std::process::exit(2);
        }
    };
    assert_eq!(figure, expected, "the allocator broke the work");
}

/// Parses and drops a document of some 20 MB, five times.
fn json() -> usize {
    let mut text = String::from("[");
    for i in 0..100_000_usize {
        let comma = if i == 0 { "" } else { "," };
        write!(
            text,
            r#"{comma}{{"id":{i},"name":"name {i}","score":{}.5,"tags":["a{i}","b{}","c{}"],"place":{{"street":"{:x<width$}","number":{},"open":{}}}}}"#,
            i % 97,
            i % 11,
            i % 101,
            "",
            i % 300,
            i % 2 == 0,
            width = i % 80,
        )
        .expect("a string takes all text");
    }
    text.push(']');
    let mut objects = 0;
    for _ in 0..5 {
        let value: Value = serde_json::from_str(&text).expect("the text is JSON");
        objects += value.as_array().map_or(0, Vec::len);
    }
    objects
}

/// Builds a map of 400,000 strings in no order, and drops it, three times.
fn map() -> usize {
    let mut random = 1_u64;
    let mut bytes = 0;
    for _ in 0..3 {
        let mut map = BTreeMap::new();
        for _ in 0..400_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let key = (random >> 40) as usize;
            map.insert(format!("key {key}"), "v".repeat(key % 120));
        }
        bytes += map.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
    }
    bytes
}

/// Four workers make 300,000 vectors, hand all of them over, and the first to come drops them: 20
/// rounds.
fn fan_out() -> usize {
    let workers = rayon::ThreadPoolBuilder::new().num_threads(4).build().expect("threads start");
    workers.install(|| {
        (0..20_usize)
            .map(|round| {
                let made: Vec<Vec<u8>> = (0..300_000_usize)
                    .into_par_iter()
                    .map(|i| vec![1; 16 + (i * 7 + round) % 500])
                    .collect();
                made.into_par_iter().rev().map(|part| part.len()).sum::<usize>()
            })
            .sum()
    })
}
