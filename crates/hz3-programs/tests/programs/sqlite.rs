//! `SQLite`: the same statements in memory and on file.

use hz3_programs::{Result, Site, compare};

const STATEMENTS: &str = include_str!("../../data/work.sql");

fn session(site: &Site, base: &str, prelude: &str) -> Result<Vec<u8>> {
    site.write("work.sql", format!("{prelude}{STATEMENTS}"))?;
    let run = site.run("sqlite3")?.args(["-batch", "-bail", base]);
    let mut result = run.stdin("work.sql")?.output()?.stdout;
    if base != ":memory:" {
        // A second process reads what the first wrote.
        let check =
            ["-batch", base, "pragma integrity_check; select count(*), sum(amount) from entry;"];
        result.extend(site.run("sqlite3")?.args(check).output()?.stdout);
    }
    Ok(result)
}

#[test]
fn a_base_in_memory_answers_the_same() -> Result {
    compare("sqlite-memory", 1, |site| session(site, ":memory:", ""))
}

#[test]
fn a_base_on_file_answers_the_same_and_is_sound() -> Result {
    compare("sqlite-file", 2, |site| {
        session(site, "work.db", "pragma journal_mode = wal;\npragma cache_size = -8000;\n")
    })
}
