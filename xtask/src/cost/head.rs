//! The head of the CSV: where, when, of what and beside what it was measured, as `hz3 compare`
//! writes it.

use std::fmt::Write;
use std::path::Path;

use hz3_programs::packages;
use hz3_tools::Result;
use hz3_tools::load::{self, Load};
use hz3_tools::machine::Machine;

use crate::shell;

/// Returns the lines of the head.
pub(super) fn head(subject: &Path, repetitions: u32, load: &Load) -> Result<String> {
    let machine = Machine::here();
    let mut head = String::new();
    for (name, value) in machine.facts() {
        let _ = writeln!(head, "# {name}: {value}");
    }
    if let Some(sentence) = load::sentence([load].into_iter(), machine.cpus) {
        let _ = writeln!(head, "# load: {sentence}");
    }
    let _ = writeln!(head, "# command: cargo xtask cost --repetitions {repetitions}");
    let library = subject.file_name().unwrap_or_default().display();
    let _ = writeln!(head, "# allocator hz3: version ?, {library}");
    let _ = writeln!(head, "# allocator tcmalloc: version {}", tcmalloc()?);
    let _ = writeln!(head, "# allocator glibc: version {}", glibc()?);
    Ok(head)
}

/// The version of gperftools that the package of the measured library is made of.
fn tcmalloc() -> Result<String> {
    let package = packages::find("tcmalloc")?.package();
    let mut query = shell::program("dpkg-query");
    query.args(["--show", "--showformat", "${Version}", &package]);
    Ok(upstream(&shell::capture(&mut query)?).to_owned())
}

/// The part of a package's version that is not Debian's own.
fn upstream(version: &str) -> &str {
    version.trim().split('-').next().unwrap_or_default()
}

fn glibc() -> Result<String> {
    let text = shell::capture(shell::program("getconf").arg("GNU_LIBC_VERSION"))?;
    Ok(text.trim().trim_start_matches("glibc ").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_has_the_facts_that_the_pages_need() {
        assert_eq!(upstream("2.10-1\n"), "2.10");
        if packages::find("tcmalloc").is_err() {
            return;
        }
        let load =
            Load { seconds: 1.0, others_cpu_s: Some(2.0), steal_s: Some(0.0), ..Load::default() };
        let head = head(Path::new("/x/libhz3.so"), 5, &load).unwrap();
        for fact in ["date", "cpu", "cpu model", "commit", "load: MEASURED BESIDE OTHER WORK"] {
            assert!(head.contains(&format!("# {fact}: ")), "{fact}: {head}");
        }
        assert!(head.contains("# allocator hz3: version ?, libhz3.so\n"), "{head}");
    }
}
