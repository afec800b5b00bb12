//! Node.js: worker threads, buffers that cross between them, streams of compression.

use hz3_programs::{Result, compare, input};

#[test]
fn workers_and_buffers_give_the_same_result() -> Result {
    compare("node", 1, |site| {
        site.write("corpus.txt", input::text(6, 1_000_000))?;
        site.write("work.js", include_str!("../../data/work.js"))?;
        Ok(site.run("node")?.args(["work.js", "corpus.txt"]).output()?.stdout)
    })
}
