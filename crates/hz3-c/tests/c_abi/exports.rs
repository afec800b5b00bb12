//! The exports of the shared library, its dependencies, and the code of its fast paths.

use std::collections::BTreeSet;
use std::process::Command;

use crate::harness::{preloaded, run, shared_library};

/// The names that the library exports: exactly these.
const EXPORTS: &str = "
    malloc calloc realloc free aligned_alloc posix_memalign
    reallocarray memalign valloc pvalloc malloc_usable_size malloc_trim cfree
    free_sized free_aligned_sized mallinfo mallinfo2 malloc_info malloc_stats mallopt
    __libc_malloc __libc_calloc __libc_realloc __libc_reallocarray __libc_free __libc_memalign
    __libc_valloc __libc_pvalloc __libc_mallinfo __libc_mallopt __posix_memalign
    hz3_collect hz3_epoch_force hz3_stats_json hz3_version hz3_statistics_page
    hz3_profile_start hz3_profile_stop hz3_profile_write hz3_set hz3_utilization hz3_on_limit
    _Znwm _ZnwmRKSt9nothrow_t _ZnwmSt11align_val_t _ZnwmSt11align_val_tRKSt9nothrow_t
    _Znam _ZnamRKSt9nothrow_t _ZnamSt11align_val_t _ZnamSt11align_val_tRKSt9nothrow_t
    _ZdlPv _ZdlPvm _ZdlPvRKSt9nothrow_t
    _ZdlPvSt11align_val_t _ZdlPvmSt11align_val_t _ZdlPvSt11align_val_tRKSt9nothrow_t
    _ZdaPv _ZdaPvm _ZdaPvRKSt9nothrow_t
    _ZdaPvSt11align_val_t _ZdaPvmSt11align_val_t _ZdaPvSt11align_val_tRKSt9nothrow_t
";

/// Runs a tool of binutils on the library and returns its output.
fn ask(tool: &str, arguments: &[&str]) -> String {
    let done = Command::new(tool).args(arguments).arg(shared_library()).output();
    let done = done.unwrap_or_else(|error| panic!("{tool}: {error}"));
    assert!(done.status.success(), "{tool}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).expect("text")
}

fn exported() -> BTreeSet<String> {
    let table = ask("nm", &["-D", "--defined-only", "--format=posix"]);
    table.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

#[test]
fn exactly_the_interface_is_exported() {
    let wanted: BTreeSet<String> = EXPORTS.split_whitespace().map(str::to_owned).collect();
    assert_eq!(exported(), wanted);
}

#[test]
fn the_header_declares_what_only_hz3_has() {
    let header = include_str!("../../include/hz3.h");
    for name in exported().iter().filter(|name| name.starts_with("hz3_")) {
        let is_declared =
            header.contains(&format!("{name}(")) || header.contains(&format!("{name};"));
        assert!(is_declared, "hz3.h has no {name}");
    }
}

#[test]
fn the_header_states_the_version_of_the_crate() {
    let header = include_str!("../../include/hz3.h");
    let version = env!("CARGO_PKG_VERSION");
    assert!(header.contains(&format!("#define HZ3_VERSION \"{version}\"\n")));
    for (part, number) in ["MAJOR", "MINOR", "PATCH"].into_iter().zip(version.split('.')) {
        assert!(header.contains(&format!("#define HZ3_VERSION_{part} {number}\n")), "{part}");
    }
}

#[test]
fn the_header_explains_every_statistic() {
    let header = include_str!("../../include/hz3.h");
    let words: BTreeSet<&str> =
        header.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect();
    let json = run(preloaded("/bin/true").env("HZ3_STATS", "json")).stderr;
    let keys: Vec<&str> = json.split('"').skip(1).step_by(2).collect();
    assert!(keys.len() > 10, "{json}");
    for key in keys {
        assert!(words.contains(key), "hz3.h does not explain {key}");
    }
}

#[test]
fn the_library_needs_the_c_library_alone_and_stays() {
    let dynamic = ask("readelf", &["--dynamic", "--wide"]);
    let needed: Vec<&str> = dynamic.lines().filter(|line| line.contains("(NEEDED)")).collect();
    assert!(needed.len() == 1 && needed[0].contains("[libc.so.6]"), "{needed:?}");
    assert!(dynamic.contains("Library soname: [libhz3.so]"), "{dynamic}");
    let flags = dynamic.lines().find(|line| line.contains("(FLAGS_1)")).unwrap_or_default();
    for flag in ["NOW", "NODELETE", "INITFIRST"] {
        assert!(flags.contains(flag), "{flag} is not in {flags}");
    }
}

#[test]
fn thread_local_variables_are_accessed_without_a_call() {
    let relocations = ask("readelf", &["--relocs", "--wide"]);
    let dynamic: Vec<&str> = relocations.lines().filter(|line| line.contains("DTPMOD")).collect();
    assert!(dynamic.is_empty(), "general dynamic TLS: {dynamic:?}");
}

/// Returns the instructions of `function`, found by its address, because it may have several names.
fn body(function: &str) -> Vec<String> {
    let symbols = ask("nm", &["-D", "--format=posix"]);
    let mut lines = symbols.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let symbol = lines.find(|fields| fields[0] == function).expect("the function is exported");
    let number = |text| u64::from_str_radix(text, 16).expect("nm prints hexadecimal numbers");
    let (start, size) = (number(symbol[2]), number(symbol[3]));
    let range = [format!("--start-address={start}"), format!("--stop-address={}", start + size)];
    let text = ask("objdump", &["--disassemble", "--no-show-raw-insn", &range[0], &range[1]]);
    text.lines()
        .filter_map(|line| line.split_once(":\t"))
        .map(|(_, instruction)| instruction.trim().to_owned())
        .filter(|instruction| !instruction.starts_with("int3") && !instruction.starts_with("nop"))
        .collect()
}

/// Each way through a hot function ends in `ret` or in a jump to a cold function of this library.
/// Access to `errno` needs a call, so the hot functions cannot change it.
#[test]
fn the_hot_functions_have_no_frame_and_make_no_call() {
    for function in ["malloc", "free", "_Znwm", "_ZdlPv", "free_sized"] {
        let code = body(function);
        assert!(!code.is_empty(), "{function} was not found");
        for instruction in &code {
            let first = instruction.split_whitespace().next().unwrap_or_default();
            let frame = first.starts_with("push")
                || first.starts_with("pop")
                || first.starts_with("call")
                || first.starts_with("bl")
                || first.starts_with("stp")
                || instruction.contains("rsp")
                || instruction.contains("@plt");
            assert!(!frame, "{function}: {instruction}\n{}", code.join("\n"));
        }
    }
}

/// All operators except the plain ones and the sized `delete`, which compares the size, are one
/// jump to the plain one that is in use.
#[test]
fn the_other_operators_are_one_jump() {
    for name in exported() {
        let plain = ["_Znwm", "_ZdlPv", "_ZdlPvm", "_ZnwmSt11align_val_t", "_ZdlPvSt11align_val_t"];
        let nothrow_new = ["_ZnwmRKSt9nothrow_t", "_ZnwmSt11align_val_tRKSt9nothrow_t"];
        let is_operator = name.starts_with("_Zn") || name.starts_with("_Zd");
        if !is_operator || plain.contains(&&*name) || nothrow_new.contains(&&*name) {
            continue;
        }
        let code = body(&name);
        let instructions = if cfg!(target_arch = "aarch64") { 3 } else { 1 };
        assert_eq!(code.len(), instructions, "{name}: {code:?}");
        assert!(!code[0].contains("@plt"), "{name}: {code:?}");
    }
}

/// Debuggers call functions by their prototypes in the debug information: `call malloc(100)`.
#[test]
fn the_debug_information_has_prototypes() {
    let commands = ["malloc", "calloc", "realloc", "memalign", "malloc_usable_size"]
        .map(|name| format!("ptype {name}"));
    let mut arguments = vec!["--nx", "--batch"];
    for command in &commands {
        arguments.extend(["--eval-command", command]);
    }
    let prototypes = ask("gdb", &arguments);
    for (prototype, end) in prototypes.lines().zip([
        "*(usize)",
        "*(usize, usize)",
        "*(enum core::ffi::c_void *, usize)",
        "*(usize, usize)",
        "usize (enum core::ffi::c_void *)",
    ]) {
        assert!(prototype.ends_with(end), "{prototypes}");
    }
    assert_eq!(prototypes.lines().count(), commands.len(), "{prototypes}");
}
