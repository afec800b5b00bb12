//! `hz3 profile` reads profiles that these tests encode by hand, and refuses other files.

use crate::common::{hz3, stderr, stdout};
use flate2::{Compression, write::GzEncoder};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Output;

/// A protocol buffer message, written field by field.
#[derive(Default, Clone)]
struct Encoded(Vec<u8>);

impl Encoded {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(u8::try_from(value & 0x7f).expect("seven bits") | 0x80);
            value >>= 7;
        }
        self.0.push(u8::try_from(value).expect("seven bits"));
    }

    fn number(mut self, tag: u64, value: u64) -> Self {
        self.varint(tag << 3);
        self.varint(value);
        self
    }

    fn bytes(mut self, tag: u64, value: &[u8]) -> Self {
        self.varint(tag << 3 | 2);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
        self
    }

    fn packed(self, tag: u64, values: impl IntoIterator<Item = u64>) -> Self {
        let mut inner = Self::default();
        values.into_iter().for_each(|value| inner.varint(value));
        self.bytes(tag, &inner.0)
    }
}

/// A profile under construction.
struct Builder {
    strings: Vec<String>,
    message: Encoded,
}

impl Builder {
    fn new(kinds: &[(&str, &str)]) -> Self {
        let mut builder = Self { strings: vec![String::new()], message: Encoded::default() };
        for (name, unit) in kinds {
            let [name, unit] = [builder.string(name), builder.string(unit)];
            builder.message =
                builder.message.bytes(1, &Encoded::default().number(1, name).number(2, unit).0);
        }
        builder
    }

    fn string(&mut self, text: &str) -> u64 {
        let known = self.strings.iter().position(|known| known == text);
        known.unwrap_or_else(|| {
            self.strings.push(text.to_owned());
            self.strings.len() - 1
        }) as u64
    }

    /// Adds a location whose innermost function comes first.
    fn named(mut self, id: u64, functions: &[&str]) -> Self {
        let mut location = Encoded::default().number(1, id).number(3, 0x1000 + id);
        for (i, name) in functions.iter().enumerate() {
            let function = 100 * id + i as u64;
            let name = self.string(name);
            self.message =
                self.message.bytes(5, &Encoded::default().number(1, function).number(2, name).0);
            location = location.bytes(4, &Encoded::default().number(1, function).0);
        }
        self.message = self.message.bytes(4, &location.0);
        self
    }

    fn mapping(
        mut self,
        id: u64,
        (start, limit, offset): (u64, u64, u64),
        file: &str,
        build_id: &str,
    ) -> Self {
        let [file, build_id] = [self.string(file), self.string(build_id)];
        let numbers = [id, start, limit, offset, file, build_id];
        let mapping = (1..).zip(numbers).fold(Encoded::default(), |m, (tag, n)| m.number(tag, n));
        self.message = self.message.bytes(3, &mapping.0);
        self
    }

    fn address(mut self, id: u64, mapping: u64, address: u64) -> Self {
        let location = Encoded::default().number(1, id).number(2, mapping).number(3, address);
        self.message = self.message.bytes(4, &location.0);
        self
    }

    fn sample(mut self, locations: &[u64], values: &[i64]) -> Self {
        let values = values.iter().map(|value| value.cast_unsigned());
        let sample = Encoded::default().packed(1, locations.iter().copied()).packed(2, values);
        self.message = self.message.bytes(2, &sample.0);
        self
    }

    fn drop_frames(mut self, pattern: &str) -> Self {
        let pattern = self.string(pattern);
        self.message = self.message.number(7, pattern);
        self
    }

    fn bytes(self) -> Vec<u8> {
        let strings = self.strings.iter();
        strings.fold(self.message, |message, text| message.bytes(6, text.as_bytes())).0
    }
}

const KINDS: [(&str, &str); 2] = [("inuse_objects", "count"), ("inuse_space", "bytes")];

/// `main` (3) calls `parse` (2), both call `build` (1), which is inlined into `grow`.
fn three_functions(parsed: i64) -> Builder {
    Builder::new(&KINDS)
        .named(1, &["_ZN4core5buildE", "grow"])
        .named(2, &["parse"])
        .named(3, &["main"])
        .sample(&[1, 2, 2, 3], &[2, parsed])
        .sample(&[1, 3], &[1, 1024])
        .sample(&[3], &[4, 512])
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(bytes).expect("room");
    gzip.finish().expect("room")
}

fn write(directory: &tempfile::TempDir, name: &str, bytes: &[u8]) -> PathBuf {
    let file = directory.path().join(name);
    std::fs::write(&file, bytes).expect("a file");
    file
}

fn profile(file: &Path, words: &[&str]) -> Output {
    hz3().arg("profile").arg(file).args(words).output().expect("hz3 starts")
}

fn json(output: &Output) -> serde_json::Value {
    assert_eq!(output.status.code(), Some(0), "{}", stderr(output));
    serde_json::from_str(&stdout(output)).expect("JSON")
}

/// The sums of each function in the order of the output.
fn sums(object: &serde_json::Value) -> Vec<(String, i64, i64)> {
    let functions = object["functions"].as_array().expect("functions").iter();
    functions
        .map(|f| {
            let number = |key: &str| f[key].as_i64().expect("a number");
            (
                f["function"].as_str().expect("a name").to_owned(),
                number("flat"),
                number("cumulative"),
            )
        })
        .collect()
}

fn expected<const N: usize>(sums: [(&str, i64, i64); N]) -> Vec<(String, i64, i64)> {
    sums.map(|(name, flat, cumulative)| (name.to_owned(), flat, cumulative)).to_vec()
}

#[test]
fn flat_and_cumulative_sums_of_a_gzipped_and_a_plain_file() {
    let directory = tempfile::tempdir().unwrap();
    let bytes = three_functions(4096).bytes();
    for (name, bytes) in [("h.pb", bytes.clone()), ("h.pb.gz", gzipped(&bytes))] {
        let file = write(&directory, name, &bytes);
        let object = json(&profile(&file, &["--json"]));
        assert_eq!(object["sample_type"], "inuse_space");
        assert_eq!(
            (object["total"].as_i64(), object["unit"].as_str()),
            (Some(5632), Some("bytes"))
        );
        // `parse` called itself and counts once; the inlined function has the flat sum.
        let wanted = [
            ("core::build", 5120, 5120),
            ("main", 512, 5632),
            ("grow", 0, 5120),
            ("parse", 0, 4096),
        ];
        assert_eq!(sums(&object), expected(wanted), "{name}");
        let object = json(&profile(&file, &["--json", "--sample", "inuse_objects", "--top", "1"]));
        assert_eq!(sums(&object), expected([("main", 4, 7)]));
        assert_eq!(object["more_functions"], 3);
    }
    let text = stdout(&profile(&directory.path().join("h.pb"), &["--top", "2"]));
    let row = |name: &str| {
        let line =
            text.lines().find(|line| line.ends_with(name)).unwrap_or_else(|| panic!("{text}"));
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(row(" core::build"), "5 KiB 90.9 5 KiB 90.9 core::build");
    assert_eq!(row(" main"), "512 B 9.1 6 KiB 100.0 main");
    assert!(text.contains("2 more functions"), "{text}");
}

#[test]
fn the_difference_of_two_profiles_and_its_flame_graph() {
    let directory = tempfile::tempdir().unwrap();
    let later = write(&directory, "later.pb", &three_functions(8192).bytes());
    let earlier = write(&directory, "earlier.pb.gz", &gzipped(&three_functions(4096).bytes()));
    let flame = directory.path().join("f.svg");
    let base = ["--base", earlier.to_str().unwrap()];
    let object = json(&profile(&later, &[&base[..], &["--json"]].concat()));
    assert_eq!((object["total"].as_i64(), object["base_total"].as_i64()), (Some(9728), Some(5632)));
    let wanted =
        [("core::build", 4096, 4096), ("grow", 0, 4096), ("main", 0, 4096), ("parse", 0, 4096)];
    assert_eq!(sums(&object), expected(wanted));
    let output = profile(&later, &[&base[..], &["--flame", flame.to_str().unwrap()]].concat());
    assert!(stdout(&output).contains("+4 KiB (from 6 KiB to 10 KiB)"), "{}", stdout(&output));
    let svg = std::fs::read_to_string(&flame).unwrap();
    for part in ["core::build (", "parse (", "less that of"] {
        assert!(svg.contains(part), "{part}");
    }
    let same = profile(&later, &["--base", later.to_str().unwrap(), "--json"]);
    assert_eq!(sums(&json(&same)), []);
}

#[test]
fn a_flame_graph_has_the_shares_of_its_stacks() {
    let directory = tempfile::tempdir().unwrap();
    let file = write(&directory, "h.pb", &three_functions(4096).bytes());
    let flame = directory.path().join("f.svg");
    let output = profile(&file, &["--flame", flame.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let svg = std::fs::read_to_string(&flame).unwrap();
    assert!(svg.contains("grow (4,096 bytes, 72.73%)"), "{svg}");
    assert!(svg.contains("main (5,632 bytes, 100.00%)"), "{svg}");
    let zero = Builder::new(&KINDS).named(1, &["main"]).sample(&[1], &[0, 0]).bytes();
    let file = write(&directory, "zero.pb", &zero);
    let output = profile(&file, &["--flame", flame.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(125));
    assert!(stderr(&output).contains("nothing to draw"), "{}", stderr(&output));
}

#[test]
fn frames_that_the_profile_drops_go_with_all_that_they_called() {
    let directory = tempfile::tempdir().unwrap();
    let bytes = three_functions(4096).drop_frames("gr.w|main").bytes();
    let object = json(&profile(&write(&directory, "h.pb", &bytes), &["--json"]));
    // `main` is outermost, and what lies outside the first frame to keep is never dropped.
    let wanted = [("parse", 4096, 4096), ("core::build", 1024, 1024), ("main", 512, 5632)];
    let mut got = sums(&object);
    got.retain(|(name, ..)| name != "grow");
    assert_eq!(got, expected(wanted));
}

/// A function of this program, which the tool finds by its address.
#[inline(never)]
fn a_site_that_the_tool_names(n: u64) -> u64 {
    std::hint::black_box(n) + 1
}

#[test]
fn addresses_get_names_from_the_program_itself() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(a_site_that_the_tool_names(1), 2);
    let address = (a_site_that_the_tool_names as fn(u64) -> u64) as usize as u64;
    let maps = procfs_maps();
    let (start, limit, offset, file) =
        maps.iter().find(|(start, limit, ..)| (start..limit).contains(&&address)).unwrap();
    let of = |file: &str, build_id: &str| {
        Builder::new(&KINDS)
            .mapping(7, (*start, *limit, *offset), file, build_id)
            .address(1, 7, address + 1)
            .sample(&[1], &[1, 100])
            .bytes()
    };
    let named = |bytes: &[u8]| {
        let output = profile(&write(&directory, "h.pb", bytes), &["--json"]);
        (sums(&json(&output))[0].0.clone(), stderr(&output))
    };
    let output = profile(&write(&directory, "h.pb", &of(file, "")), &["--json"]);
    let names: Vec<String> = sums(&json(&output)).into_iter().map(|(name, ..)| name).collect();
    // With what is inlined into it.
    let site = concat!(module_path!(), "::a_site_that_the_tool_names");
    let is_site = |name: &String| name == site;
    assert!(names.iter().any(is_site), "{names:?}");
    assert_eq!(stderr(&output), "");
    let (name, _) = named(&of(file, ""));
    // A deleted file may be there again; another build gives no names; no more does a file that
    // is gone.
    assert_eq!(named(&of(&format!("{file} (deleted)"), "")).0, name);
    let within = address + 1 - start + offset;
    let program = Path::new(file).file_name().unwrap().to_str().unwrap();
    let (name, said) = named(&of(file, "00ff"));
    assert_eq!(name, format!("{program}+{within:#x}"));
    assert!(said.contains("is another build than the program's"), "{said}");
    let (name, said) = named(&of("/nowhere/prog", ""));
    assert_eq!(name, format!("prog+{within:#x}"));
    assert_eq!(said, "hz3: /nowhere/prog is gone; its functions stay without names\n");
    assert_eq!(named(&of("[vdso]", "")), (format!("[vdso]+{within:#x}"), String::new()));
}

/// The mappings of this process: start, limit, offset, file.
fn procfs_maps() -> Vec<(u64, u64, u64, String)> {
    let text = std::fs::read_to_string("/proc/self/maps").expect("the mappings");
    let lines = text.lines().map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (start, limit) = words[0].split_once('-').expect("a range");
        let number = |text: &str| u64::from_str_radix(text, 16).expect("a number");
        let file = words.get(5).copied().unwrap_or("").to_owned();
        (number(start), number(limit), number(words[2]), file)
    });
    lines.collect()
}

#[test]
fn files_that_are_no_profile_end_with_one_line() {
    let directory = tempfile::tempdir().unwrap();
    let good = three_functions(4096).bytes();
    let packed = gzipped(&good);
    let missing = Builder::new(&KINDS).sample(&[9], &[1, 1]).bytes();
    let short = Builder::new(&KINDS).named(1, &["main"]).sample(&[1], &[1]).bytes();
    let nonsense: Vec<u8> = (0..200_u8).map(|i| i.wrapping_mul(37)).collect();
    for (name, bytes, said) in [
        ("cut.pb.gz", &packed[..packed.len() / 2], "cannot unpack "),
        ("cut.pb", &good[..good.len() - 3], "is not a pprof file, or only a part of one"),
        ("empty", &[], "it has no sample types"),
        ("text", b"hello\n", "is not a pprof file"),
        ("nonsense", &nonsense, "is not a pprof file"),
        ("text.heap", b"heap profile: 1: 2 [3: 4] @ heapprofile", "in a text form"),
        ("missing", &missing, "a location is missing"),
        ("short", &short, "another number of values"),
    ] {
        let file = write(&directory, name, bytes);
        let output = profile(&file, &[]);
        assert_eq!(output.status.code(), Some(125), "{name}: {}", stderr(&output));
        assert_eq!(stderr(&output).lines().count(), 1, "{name}: {}", stderr(&output));
        assert!(stderr(&output).contains(said), "{name}: {}", stderr(&output));
        assert_eq!(stdout(&output), "");
    }
    // A byte that is damaged gives another profile or an error, never a panic.
    for place in 0..good.len() {
        let mut bytes = good.clone();
        bytes[place] ^= 0x41;
        let output = profile(&write(&directory, "damaged", &bytes), &["--json"]);
        let code = output.status.code();
        assert!([Some(0), Some(125)].contains(&code), "{place}: {}", stderr(&output));
    }
}

#[test]
fn wrong_words_are_wrong_usage() {
    let directory = tempfile::tempdir().unwrap();
    let file = write(&directory, "h.pb", &three_functions(4096).bytes());
    let other = Builder::new(&[("alloc_space", "bytes")]).named(1, &["main"]);
    let other = write(&directory, "other.pb", &other.sample(&[1], &[1]).bytes());
    for (words, said) in [
        (vec!["--sample", "inuse_spce"], "did you mean `inuse_space`?"),
        (vec!["--sample", "x"], "expected one of inuse_objects, inuse_space"),
        (vec!["--base", other.to_str().unwrap()], "unknown sample type `inuse_space`"),
        (vec!["--flame", file.to_str().unwrap()], "would overwrite a profile"),
    ] {
        let output = profile(&file, &words);
        assert_eq!(output.status.code(), Some(2), "{words:?}");
        assert!(stderr(&output).contains(said), "{words:?}: {}", stderr(&output));
    }
    assert_eq!(profile(&directory.path().join("none"), &[]).status.code(), Some(2));
}
