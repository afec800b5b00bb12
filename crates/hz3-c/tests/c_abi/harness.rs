//! Builds the library and the test programs, runs them, and checks their output.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use hz3_tools::Group;

/// How long a program may run before it counts as hanging. The slowest takes well under a minute; a
/// library that checks itself takes 84 s to fill 4 GB.
const PATIENCE: Duration = Duration::from_secs(if cfg!(feature = "check") { 1200 } else { 300 });

/// How a program gets hz3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    /// Not at build time: by `LD_PRELOAD`, or without hz3.
    None,
    /// `-lhz3`
    Shared,
    /// `libhz3.a` in an executable at a fixed address.
    Archive,
    /// `libhz3.a` in a position-independent executable.
    ArchivePie,
    /// `libhz3.a` and every other library.
    Static,
}

fn package() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns cargo's directory for files of this test.
fn scratch() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}

/// Returns the directory of `libhz3.so` and `libhz3.a`, which it builds on first use.
fn libraries() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let target =
            scratch().parent().expect("the scratch directory lies in the target directory");
        let mut cargo = Command::new(env!("CARGO"));
        // The library is tested as it ships, however the tests themselves are built.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("CARGO_PROFILE_") {
                cargo.env_remove(name);
            }
        }
        // A library with checks is not shipped, so it is built in another directory.
        let (target, features): (_, &[&str]) = if cfg!(feature = "check") {
            (target.join("check"), &["--features", "check"])
        } else {
            (target.to_owned(), &[])
        };
        let status = cargo
            .args(["build", "--quiet", "--release", "--lib", "--package", "hz3-c"])
            .args(features)
            .arg("--manifest-path")
            .arg(package().join("Cargo.toml"))
            .arg("--target-dir")
            .arg(&target)
            .status()
            .expect("cargo runs");
        assert!(status.success(), "libhz3 does not build");
        target.join("release")
    })
}

pub(crate) fn shared_library() -> PathBuf {
    libraries().join("libhz3.so")
}

/// Compiles `tests/c/<source>` with `flags`, once; `output` is the name of the result.
fn compile(source: &str, output: &str, flags: &[&str]) -> PathBuf {
    once(output, || compile_now(source, output, flags))
}

/// Returns what `make` made for this name, now or earlier.
fn once(output: &str, make: impl FnOnce() -> PathBuf) -> PathBuf {
    type Outputs = BTreeMap<String, Arc<OnceLock<PathBuf>>>;
    static OUTPUTS: Mutex<Outputs> = Mutex::new(BTreeMap::new());
    // Tests run in threads: the second one that wants a program must not overwrite it while it
    // runs. A compilation that failed may have poisoned the lock; the map is whole.
    let mut outputs = OUTPUTS.lock().unwrap_or_else(PoisonError::into_inner);
    let cell = Arc::clone(outputs.entry(output.to_owned()).or_default());
    drop(outputs);
    cell.get_or_init(make).clone()
}

fn compile_now(source: &str, output: &str, flags: &[&str]) -> PathBuf {
    let directory = package().join("tests/c");
    let path = scratch().join(output);
    let cxx = is_cxx(source);
    let mut command = compiler(source);
    command.arg(if cxx { "-std=c++17" } else { "-std=gnu11" });
    // No builtins: the compiler must not optimise the tested calls away.
    command
        .args(["-O1", "-g", "-fno-builtin", "-fno-allocation-dce"])
        .args(["-Wall", "-Wextra", "-Werror", "-Wno-deprecated-declarations"])
        .args(["-Wno-use-after-free", "-Wno-free-nonheap-object", "-Wno-alloc-size-larger-than"])
        .arg("-I")
        .arg(package().join("include"))
        .arg(directory.join(source));
    if cxx {
        command.args([
            "-Wno-mismatched-new-delete",
            "-Wno-sized-deallocation",
            "-Wno-unused-result",
        ]);
    }
    produce(command.args(flags), path)
}

fn is_cxx(source: &str) -> bool {
    Path::new(source).extension().is_some_and(|extension| extension == "cc")
}

/// Returns the compiler for a source, with what both compiling and linking need to know.
fn compiler(source: &str) -> Command {
    let mut command = Command::new(if is_cxx(source) { "g++" } else { "gcc" });
    command.arg("-pthread");
    if let Ok(sanitizer) = std::env::var("HZ3_TEST_SANITIZER") {
        command.arg(format!("-fsanitize={sanitizer}")).arg("-fno-sanitize-recover=all");
    }
    command
}

/// Lets a compiler write `path`, and returns that.
fn produce(command: &mut Command, path: PathBuf) -> PathBuf {
    let done = command.arg("-o").arg(&path).output();
    let done = done.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{command:?} failed:\n{text}");
    path
}

/// Builds a program that gets hz3 by `link`. Most of the work is compiling it: programs that differ
/// in nothing but the linking share an object.
pub(crate) fn program(source: &str, link: Link) -> PathBuf {
    let stem = Path::new(source).file_stem().expect("a source has a name").to_string_lossy();
    let output = format!("{stem}-{link:?}");
    let directory = libraries().to_string_lossy().into_owned();
    let archive = format!("{directory}/libhz3.a");
    let search = format!("-L{directory}");
    let run_path = format!("-Wl,-rpath,{directory}");
    let flags: Vec<&str> = match link {
        Link::None => vec![],
        // The program may name no symbol that makes the linker keep the library.
        Link::Shared => vec!["-Wl,--no-as-needed", &search, "-lhz3", &run_path],
        Link::Archive => vec!["-no-pie", &archive],
        Link::ArchivePie => vec!["-pie", &archive],
        Link::Static => vec!["-static", &archive],
    };
    let object = if link == Link::Static {
        compile(source, &format!("{stem}-static.o"), &["-c", "-fPIE"])
    } else {
        compile(source, &format!("{stem}-dynamic.o"), &["-c", "-fPIE", "-DDYNAMIC"])
    };
    once(&output, || produce(compiler(source).arg(object).args(&flags), scratch().join(&output)))
}

/// Builds a test library, for dlopen or `LD_PRELOAD`.
pub(crate) fn helper_library(source: &str) -> PathBuf {
    let stem = Path::new(source).file_stem().expect("a source has a name").to_string_lossy();
    compile(source, &format!("{stem}.so"), &["-shared", "-fPIC"])
}

/// A program with `libhz3.a` in it that is linked with a library of [`helper_library`]'s. The
/// library's constructors run before hz3's.
pub(crate) fn program_with_library(source: &str, library: &Path) -> PathBuf {
    let stem = Path::new(source).file_stem().expect("a source has a name").to_string_lossy();
    let archive = libraries().join("libhz3.a");
    let [archive, library] = [archive.to_string_lossy(), library.to_string_lossy()];
    let flags = ["-DDYNAMIC", "-no-pie", &archive, &library];
    compile(source, &format!("{stem}-with-library"), &flags)
}

/// Builds a test library that contains hz3 and exports none of it.
pub(crate) fn plugin(source: &str) -> PathBuf {
    let stem = Path::new(source).file_stem().expect("a source has a name").to_string_lossy();
    let archive = libraries().join("libhz3.a").to_string_lossy().into_owned();
    let flags = ["-shared", "-fPIC", &archive, "-Wl,--exclude-libs,ALL", "-Wl,-Bsymbolic"];
    compile(source, &format!("{stem}-inside.so"), &flags)
}

/// Returns a command whose environment has no variables of hz3.
pub(crate) fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("HZ3_") || name == "LD_PRELOAD" || name.starts_with("MALLOC_") {
            command.env_remove(&*name);
        }
    }
    // Cargo lets programs look for libraries in its own folders first, where an older libhz3.so may
    // be.
    command.env_remove("LD_LIBRARY_PATH");
    command.current_dir(scratch());
    command
}

/// Returns a command that runs on hz3 by `LD_PRELOAD`.
pub(crate) fn preloaded(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = command(program);
    command.env("LD_PRELOAD", shared_library());
    command
}

/// Returns a command that runs the C program `tests/c/<source>` on hz3 by `LD_PRELOAD`.
pub(crate) fn on_hz3(source: &str) -> Command {
    preloaded(program(source, Link::None))
}

/// Returns a command that runs a shell script with private mounts. `LIBRARY` is the library's path.
pub(crate) fn with_own_mounts(script: &str) -> Command {
    let own = |flags: &[&str]| {
        let mut own = command("unshare");
        own.args(flags);
        own
    };
    let may = |flags| {
        let status = own(flags).args(["mount", "-t", "tmpfs", "none", "/proc"]).status();
        status.is_ok_and(|status| status.success())
    };
    let ways: [&[&str]; 2] = [&["--mount"], &["--map-root-user", "--mount"]];
    let way = ways.into_iter().find(|flags| may(flags));
    let way = way.expect("root, or a system that allows user namespaces: this test mounts");
    let mut command = own(way);
    command.env("LIBRARY", shared_library()).args(["sh", "-ec", script]);
    command
}

/// How a program ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Outcome {
    /// Returns the signal that ended the program, if any.
    pub(crate) fn signal(&self) -> Option<i32> {
        self.status.signal()
    }

    /// Asserts that the program printed "ok" and that stderr is empty.
    #[track_caller]
    pub(crate) fn expect_ok(&self) {
        self.expect_output("ok\n");
    }

    /// Asserts as [`Outcome::expect_ok`] does, with this text on stdout.
    #[track_caller]
    pub(crate) fn expect_output(&self, stdout: &str) {
        assert!(self.status.success() && self.stdout == stdout && self.stderr.is_empty(), "{self}");
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut text = String::new();
        writeln!(text, "{}", self.status)?;
        writeln!(text, "--- stdout\n{}", self.stdout)?;
        writeln!(text, "--- stderr\n{}", self.stderr)?;
        f.write_str(&text)
    }
}

/// Runs a command to its end. If it hangs, kills it with its children and fails the test.
pub(crate) fn run(command: &mut Command) -> Outcome {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut group = Group::start(command).unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let stdout = collect(group.child().stdout.take().expect("stdout is piped"));
    let stderr = collect(group.child().stderr.take().expect("stderr is piped"));
    let status = group.wait(PATIENCE, |_| ()).expect("the child can be waited for");
    let status = status.unwrap_or_else(|| panic!("{command:?} hangs"));
    // A process that is left behind would keep the pipes open, and the readers would wait for ever.
    group.kill();
    let text = |reader: thread::JoinHandle<String>| reader.join().expect("the reader ends");
    Outcome { status, stdout: text(stdout), stderr: text(stderr) }
}

fn collect(mut stream: impl Read + Send + 'static) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).expect("the stream can be read");
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
