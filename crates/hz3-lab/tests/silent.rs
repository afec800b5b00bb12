//! A process that runs no slow path does not answer: `hz3 set` says so in one line within a bounded
//! time, and the others show figures with their age.

mod common;
#[path = "common/page.rs"]
mod page;

use common::{hz3, stderr, stdout};
use page::VALUES;

#[test]
fn what_is_not_answered_is_said_and_looks_show_their_age() {
    page::put();
    let pid = std::process::id().to_string();
    let output = hz3().args(["set", &pid, "tick_ms=5", "purge=now"]).output().unwrap();
    assert_eq!(output.status.code(), Some(125));
    let expected = format!(
        "hz3: process {pid} did not answer within 5s; it sets `tick_ms=5` at its next tick or slow \
         path, if the value is right; not sent: purge=now\n"
    );
    assert_eq!(stderr(&output), expected);

    let top = hz3().args(["top", "--once", &pid]).output().unwrap();
    let text = stdout(&top);
    assert!(top.status.success(), "{}", stderr(&top));
    let head = text.lines().next().unwrap();
    assert!(head.contains("figures ") && head.ends_with(" old"), "{text}");
    assert!(text.contains("6.0 MiB") && VALUES[0] == ("allocated", 6 << 20), "{text}");
    let why = stdout(&hz3().args(["why", &pid]).output().unwrap());
    let last = why.lines().last().unwrap();
    assert!(last.starts_with("The process did not answer") && last.ends_with(" ago."), "{why}");
    let json = stdout(&hz3().args(["top", "--json", &pid]).output().unwrap());
    assert!(json.contains("\"answered\":false"), "{json}");
}
