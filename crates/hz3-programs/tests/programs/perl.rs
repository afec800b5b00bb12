//! Perl: text, hashes, sorting, and its threads, which clone the whole interpreter.

use hz3_programs::{Result, compare, input};

#[test]
fn text_work_and_threads_give_the_same_result() -> Result {
    compare("perl", 1, |site| {
        site.write("corpus.txt", input::text(2, 1_500_000))?;
        site.write("work.pl", include_str!("../../data/work.pl"))?;
        let run = site.run("perl")?.args(["work.pl", "corpus.txt"]).env("PERL_HASH_SEED", "0");
        Ok(run.output()?.stdout)
    })
}
