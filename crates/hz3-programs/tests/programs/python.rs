//! Python: a script that is compared, and the interpreter's own test suite.

use hz3_programs::{Failure, Result, Site, check, compare, input, packages};

const SCRIPT: &str = include_str!("../../data/work.py");

fn script(site: &Site, allocator: &str) -> Result<Vec<u8>> {
    site.write("corpus.txt", input::text(1, 400_000))?;
    site.write("work.py", SCRIPT)?;
    let run = site.run("python3")?.args(["work.py", "corpus.txt"]).env("PYTHONHASHSEED", "0");
    Ok(run.env("PYTHONMALLOC", allocator).output()?.stdout)
}

#[test]
fn a_script_with_objects_threads_and_processes_gives_the_same_result() -> Result {
    compare("python-script", 1, |site| script(site, "pymalloc"))
}

#[test]
fn the_same_script_with_every_object_from_malloc() -> Result {
    compare("python-malloc", 1, |site| script(site, "malloc"))
}

/// Runs modules of the interpreter's test suite; all of them must succeed.
fn regrtest(name: &str, allocator: &str, modules: &[&str], only: &[&str]) -> Result {
    packages::find("regrtest")?;
    check(name, 1, |site| {
        // The suite tests Ctrl-C; a test run in the background of a shell inherits it as ignored.
        let mut run = site.run("env")?.arg("--default-signal=INT");
        run = run.arg(packages::find("python3")?.path()).args(["-m", "test"]);
        for pattern in only {
            run = run.args(["-m", pattern]);
        }
        let text = run.args(modules).env("PYTHONMALLOC", allocator).output()?.text()?;
        let all = if let [_] = modules {
            "1 test OK.".into()
        } else {
            format!("All {} tests OK.", modules.len())
        };
        if text.contains(&all) && text.contains("Tests result: SUCCESS") {
            return Ok(());
        }
        Err(Failure::new(format!("expected {all:?} in:\n{text}")))
    })
}

#[test]
fn its_test_suite_of_data_types_passes_on_malloc_alone() -> Result {
    let modules = [
        "test_json",
        "test_pickle",
        "test_re",
        "test_bytes",
        "test_dict",
        "test_list",
        "test_set",
        "test_deque",
        "test_array",
        "test_struct",
        "test_memoryview",
        "test_unicode",
        "test_gc",
        "test_weakref",
        "test_decimal",
        "test_itertools",
        "test_functools",
        "test_collections",
    ];
    regrtest("python-data", "malloc", &modules, &[])
}

#[test]
fn its_test_suite_of_c_extensions_passes() -> Result {
    let modules = [
        "test_ctypes",
        "test_zlib",
        "test_bz2",
        "test_lzma",
        "test_hashlib",
        "test_mmap",
        "test_xml_etree_c",
        "test_tracemalloc",
        "test_random",
    ];
    regrtest("python-extensions", "pymalloc", &modules, &[])
}

#[test]
fn its_test_suite_of_threads_passes_on_malloc_alone() -> Result {
    regrtest("python-threads", "malloc", &["test_threading", "test_thread", "test_queue"], &[])
}

#[test]
fn its_test_suite_of_processes_passes() -> Result {
    regrtest("python-processes", "pymalloc", &["test_subprocess", "test_fork1"], &[])
}

#[test]
fn its_test_suite_of_forked_workers_passes() -> Result {
    let only = [
        "WithProcessesTestPool*",
        "WithThreadsTestPool*",
        "WithProcessesTestQueue*",
        "WithProcessesTestLock*",
        "WithProcessesTestConnection*",
        "WithProcessesTestSharedCTypes*",
        "WithProcessesTestHeap*",
        "WithManagerTestContainers*",
        "WithProcessesTestMyManager*",
    ];
    regrtest("python-forked", "malloc", &["test_multiprocessing_fork"], &only)
}
