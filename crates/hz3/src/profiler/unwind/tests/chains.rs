//! Chains of C functions that note their own return addresses.

use core::ffi::{CStr, c_int};
use core::mem::transmute;
use std::ffi::CString;
use std::format;
use std::io::Write;
use std::process::{Command, Stdio};
use std::vec::Vec;

use super::super::walk;
use super::DEPTH;

/// Functions with frames of several kinds, each of which calls the next: small, of several pages,
/// of a size that is known at run time, and aligned to more than the stack is.
const SOURCE: &str = r#"
#include <stddef.h>
#include <string.h>
typedef void (*callback)(void *);
size_t returns[64];
int noted;
#define NOTE() (returns[noted++] = (size_t)__builtin_return_address(0))
#define STEP(name) __attribute__((noinline, noclone)) int name(int n, callback call, void *data)
static int go(int n, callback call, void *data);
STEP(small) { NOTE(); int result = go(n, call, data); return result * 3 + n; }
STEP(large) {
    NOTE();
    char room[9000];
    memset(room, n, sizeof room);
    int result = go(n, call, data);
    __asm__ volatile("" : : "r"(room) : "memory");
    return result + room[n];
}
STEP(sized) {
    NOTE();
    char *room = __builtin_alloca(16 + n * 40);
    memset(room, n, 16 + n * 40);
    int result = go(n, call, data);
    __asm__ volatile("" : : "r"(room) : "memory");
    return result + room[n];
}
STEP(aligned) {
    NOTE();
    char room[256] __attribute__((aligned(256)));
    memset(room, n, sizeof room);
    int result = go(n, call, data);
    __asm__ volatile("" : : "r"(room) : "memory");
    return result + room[n];
}
STEP(busy) {
    NOTE();
    int a = n * 3, b = n ^ 5, c = n + 7, d = n - 9, e = n * n;
    __asm__ volatile("" : "+r"(a), "+r"(b), "+r"(c), "+r"(d), "+r"(e));
    int result = go(n, call, data);
    return result + a + b * c + d * e;
}
static inline __attribute__((always_inline)) int go(int n, callback call, void *data) {
    if (n == 0) {
        call(data);
        __asm__ volatile("" : : : "memory");
        return 1;
    }
    switch (n % 5) {
    case 0: return small(n - 1, call, data);
    case 1: return large(n - 1, call, data);
    case 2: return sized(n - 1, call, data);
    case 3: return aligned(n - 1, call, data);
    default: return busy(n - 1, call, data);
    }
}
"#;

pub(super) type Callback = extern "C" fn(*mut Vec<usize>);
pub(super) type Chain = extern "C" fn(c_int, Callback, *mut Vec<usize>) -> c_int;

/// A library that was compiled from [`SOURCE`]; it stays loaded.
pub(super) struct Library {
    pub(super) start: Chain,
    returns: *const [usize; DEPTH],
    noted: *mut c_int,
}

impl Library {
    pub(super) fn compile(name: &str, flags: &[&str]) -> Self {
        let directory = std::env::temp_dir();
        let path = directory.join(format!("hz3-unwind-{}-{name}.so", std::process::id()));
        // Another compiler if the tests run in an emulator.
        let compiler = std::env::var("CC").unwrap_or_else(|_| "gcc".into());
        let mut gcc = Command::new(compiler)
            .args(["-x", "c", "-shared", "-fPIC", "-fno-optimize-sibling-calls"])
            .args(flags)
            .args(["-", "-o"])
            .arg(&path)
            .stdin(Stdio::piped())
            .spawn()
            .expect("gcc starts");
        let source = SOURCE.as_bytes();
        gcc.stdin.take().expect("a pipe").write_all(source).expect("gcc reads");
        assert!(gcc.wait().expect("gcc ends").success());
        let file = CString::new(path.as_os_str().as_encoded_bytes()).expect("no zero");
        // SAFETY: the library has no constructors.
        let library = unsafe { libc::dlopen(file.as_ptr(), libc::RTLD_NOW) };
        std::fs::remove_file(&path).expect("the library exists");
        assert!(!library.is_null(), "{name} does not load");
        let symbol = |name: &CStr| {
            // SAFETY: the library is loaded, and stays so.
            let found = unsafe { libc::dlsym(library, name.as_ptr()) };
            assert!(!found.is_null(), "{name:?}");
            found
        };
        Self {
            // SAFETY: `busy` in the source above has this type.
            start: unsafe { transmute::<*mut _, Chain>(symbol(c"busy")) },
            returns: symbol(c"returns").cast(),
            noted: symbol(c"noted").cast(),
        }
    }

    /// Returns the return addresses that the chain has noted, innermost first.
    fn take_returns(&self) -> Vec<usize> {
        // SAFETY: it is a variable of the library, which runs on this thread alone.
        let count = usize::try_from(unsafe { self.noted.replace(0) }).expect("a count");
        // SAFETY: as above.
        let returns = unsafe { self.returns.read() };
        returns[..count].iter().rev().copied().collect()
    }
}

/// Checks that a walk from the end of a chain finds every return address of the chain.
fn check(name: &str, flags: &[&str]) {
    extern "C" fn note(frames: *mut Vec<usize>) {
        let mut found = [0; DEPTH];
        let count = walk(&mut found);
        // SAFETY: the caller passes its vector through the chain, and does not use it meanwhile.
        unsafe { (*frames).extend_from_slice(&found[..count]) };
    }
    let library = Library::compile(name, flags);
    for depth in 0..12 {
        let mut frames = Vec::new();
        (library.start)(depth, note, &raw mut frames);
        let expected = library.take_returns();
        assert_eq!(expected.len(), usize::try_from(depth).expect("small") + 1);
        // The first frame is that of `note`, which returns into the innermost function.
        let text = format!("{name} {depth}: {frames:x?} {expected:x?}");
        assert!(frames.len() > expected.len() + 2, "{text}");
        assert_eq!(frames[2..expected.len() + 2], expected, "{text}");
    }
}

#[test]
fn chains_without_frame_pointers_are_found() {
    check("tables", &["-O2", "-fomit-frame-pointer"]);
    check("small", &["-Os", "-fomit-frame-pointer"]);
    check("wide", &["-O3", "-fomit-frame-pointer", "-fstack-protector-all"]);
}

#[test]
fn chains_with_frame_pointers_and_tables_are_found() {
    check("plain", &["-O0"]);
    check("pointers", &["-O2", "-fno-omit-frame-pointer"]);
}

#[test]
fn chains_with_frame_pointers_alone_are_found() {
    let flags = ["-O2", "-fno-omit-frame-pointer", "-fno-asynchronous-unwind-tables"];
    check("bare", &[&flags[..], &["-fno-exceptions", "-fno-unwind-tables"]].concat());
}
