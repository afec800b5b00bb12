//! Bash, and the small tools that a script strings together: hundreds of short processes.

use hz3_programs::{Result, compare, input, packages};

#[test]
fn a_script_of_pipes_and_subshells_gives_the_same_result() -> Result {
    for tool in ["awk", "sort", "xz"] {
        packages::find(tool)?;
    }
    compare("bash", 100, |site| {
        site.write("corpus.txt", input::text(9, 3_000_000))?;
        site.write("work.sh", include_str!("../../data/work.sh"))?;
        Ok(site.run("bash")?.args(["work.sh", "corpus.txt"]).output()?.stdout)
    })
}
