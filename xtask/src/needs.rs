//! Which tests need which programs, so that the tests that cannot run here can be left out by name.
//!
//! A test that lacks a program and is not in the table fails, and says what to install.

use std::collections::BTreeMap;
use std::process::Command;

use hz3_programs::packages;
use hz3_tools::Result;

use crate::counts;

/// Tests that need programs.
struct Need {
    package: &'static str,
    /// The name of a test, or of a module with `::` behind it.
    tests: &'static str,
    /// By their names in the table of packages.
    tools: &'static [&'static str],
}

const fn need(package: &'static str, tests: &'static str, tools: &'static [&'static str]) -> Need {
    Need { package, tests, tools }
}

const NEEDS: &[Need] = &[
    need("hz3-c", "cxx::", &["g++"]),
    need("hz3-c", "linked::", &["g++"]),
    need("hz3-c", "exports::", &["objdump", "gdb"]),
    need("hz3-jemalloc", "a_program_for_jemalloc", &["gcc"]),
    need("hz3-lab", "report::the_page_has_all_pictures_and_needs_nothing_else", &["font"]),
    need("hz3-lab", "report::pictures_as_png_are_drawn", &["font"]),
    need("hz3-lab", "report::png::", &["font"]),
    need("hz3-lab", "report::a_browser_shows", &["chromium", "font"]),
    need("hz3-lab", "ab::the_same_on_both_sides_is_no_difference", &["valgrind"]),
    need("hz3-lab", "ab::a_candidate_that_is_5_percent_slower_gets_no_go", &["valgrind"]),
    need("hz3-lab", "ab::an_experiment_is_recorded_indexed_and_replayed", &["valgrind"]),
    need("hz3-programs", "c_code::", &["gcc"]),
    need("hz3-programs", "compilers::gcc", &["gcc", "stb"]),
    need("hz3-programs", "compilers::gplusplus", &["g++", "json.hpp"]),
    need("hz3-programs", "git::", &["git"]),
    need("hz3-programs", "java::", &["java", "javac"]),
    need("hz3-programs", "nginx::", &["nginx"]),
    need("hz3-programs", "node::", &["node"]),
    need("hz3-programs", "perl::", &["perl"]),
    need("hz3-programs", "python::", &["env", "python3"]),
    need("hz3-programs", "python::its_test_suite", &["regrtest"]),
    need("hz3-programs", "redis::", &["redis-server", "redis-cli", "redis-benchmark"]),
    need("hz3-programs", "shell::", &["awk", "bash", "sort", "xz"]),
    need("hz3-programs", "sqlite::", &["sqlite3"]),
];

/// The tests of a package that cannot run here, with the packages of Debian that they lack.
pub(crate) type Lacking = BTreeMap<String, Vec<String>>;

/// Returns which of the tests that the command `run` runs cannot run here. A package may have its
/// tests in several suites, so a need may find none of its tests in this one.
pub(crate) fn lacking(package: &str, run: impl FnOnce() -> Command) -> Result<Lacking> {
    let is_missing = |name: &&str| packages::find(name).is_err();
    let unmet: Vec<&Need> = NEEDS
        .iter()
        .filter(|need| need.package == package && need.tools.iter().any(is_missing))
        .collect();
    if unmet.is_empty() {
        return Ok(Lacking::new());
    }
    let tests = counts::names(&mut run())?;
    let mut lacking = Lacking::new();
    for need in unmet {
        for test in tests.iter().filter(|test| test.starts_with(need.tests)) {
            let packages = lacking.entry(test.to_owned()).or_default();
            for tool in need.tools.iter().filter(|tool| is_missing(tool)) {
                let package = package_of(tool);
                if !packages.contains(&package) {
                    packages.push(package);
                }
            }
        }
    }
    Ok(lacking)
}

fn package_of(tool: &str) -> String {
    let found = packages::TOOLS.iter().find(|candidate| candidate.name == tool);
    found.map_or_else(|| tool.to_owned(), packages::Tool::package)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::source::Tree;

    /// Whether the tests of a file of `tests/` have no module in their names.
    fn is_root(file: &str) -> bool {
        let (folder, name) = file.rsplit_once('/').unwrap_or_default();
        folder.ends_with("/tests") || name == "main.rs"
    }

    #[test]
    fn every_need_names_tests_and_tools_that_exist() {
        let tree = Tree::read().unwrap();
        for need in NEEDS {
            let folders = ["src", "tests"].map(|part| format!("crates/{}/{part}/", need.package));
            let sources = || folders.iter().flat_map(|folder| tree.rust_below(folder));
            let (path, function) = need.tests.rsplit_once("::").unwrap_or(("", need.tests));
            let module = path.rsplit("::").next().unwrap_or_default();
            let is_place = |file: &str| {
                if module.is_empty() {
                    is_root(file)
                } else {
                    file.ends_with(&format!("/{module}.rs"))
                }
            };
            let function = format!("\nfn {function}");
            let mut places = sources().filter(|(file, ..)| is_place(file));
            assert!(places.any(|(.., text)| text.contains(&function)), "{}", need.tests);
            for tool in need.tools {
                assert!(packages::TOOLS.iter().any(|known| known.name == *tool), "{tool}");
            }
        }
    }

    #[test]
    fn every_program_that_the_real_programs_run_is_needed_by_them() {
        let tree = Tree::read().unwrap();
        let tests = tree.rust_below("crates/hz3-programs/tests/");
        let text: String = tests.map(|(.., text)| text).collect();
        let asked = text.split("run(\"").chain(text.split("find(\"")).skip(1);
        for name in asked.filter_map(|rest| rest.split_once('"')).map(|(name, _)| name) {
            let known = packages::TOOLS.iter().any(|tool| tool.name == name);
            let named = NEEDS.iter().any(|need| need.tools.contains(&name));
            assert!(!known || named, "{name} is needed by no test in needs.rs");
        }
    }
}
