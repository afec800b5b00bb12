//! Java: the compiler and a program with threads, direct buffers and native compression.

use hz3_programs::{Result, compare};

#[test]
fn javac_compiles_and_a_threaded_program_gives_the_same_result() -> Result {
    compare("java", 2, |site| {
        site.write("Work.java", include_str!("../../data/Work.java"))?;
        // Small heap and few compiler threads: two of these may run at once on a small machine.
        let limits = ["-J-Xmx256m", "-J-XX:TieredStopAtLevel=1"];
        site.run("javac")?.args(limits).args(["-Xlint:all", "Work.java"]).output()?;
        let run = site.run("java")?.args(["-Xmx256m", "-XX:MaxDirectMemorySize=128m", "-cp", "."]);
        Ok(run.arg("Work").output()?.stdout)
    })
}
