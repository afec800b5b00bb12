//! Node.js: worker threads, buffers that cross between them, streams of compression.

use hz3_programs::{Result, Site, compare, input};

fn work(site: &Site, options: &[(&str, &str)]) -> Result<Vec<u8>> {
    site.write("corpus.txt", input::text(6, 1_000_000))?;
    site.write("work.js", include_str!("../../data/work.js"))?;
    let run = site.run("node")?.args(["work.js", "corpus.txt"]);
    let run = options.iter().fold(run, |run, (name, value)| run.env(name, value));
    Ok(run.output()?.stdout)
}

#[test]
fn workers_and_buffers_give_the_same_result() -> Result {
    compare("node", 1, |site| work(site, &[]))
}

#[test]
fn the_same_work_gives_the_same_result_where_nearly_every_call_misses() -> Result {
    compare("node-misses", 1, |site| work(site, &[("HZ3_THREAD_CACHE", "0")]))
}
