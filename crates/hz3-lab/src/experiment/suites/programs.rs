//! Whole programs, as they are installed: is hz3 as fast as the best of the others on each of
//! them, faster in the mean, and as small as glibc?
//!
//! Nothing is installed and nothing is fetched. A program that is not on the `PATH` is left out
//! and named, with the Debian package that has it. The programs of mimalloc-bench take part once
//! the directory in which they were built is on the `PATH`; those that run for a fixed time,
//! whatever the allocator does, do not.

use super::speed::Targets;
use crate::experiment::cases::{Case, Level, What};
use crate::files::is_on_path;
use crate::peers::Missing;

/// One program's work.
struct Program {
    name: &'static str,
    /// Programs that must be on the `PATH`.
    needs: &'static [&'static str],
    /// Its Debian package, or how to build it.
    source: &'static str,
    /// The work, about a second of it, for the shell. `$d` is an empty directory that is deleted
    /// afterwards.
    line: &'static str,
}

const MIMALLOC_BENCH: &str = "build mimalloc-bench, then add its out/bench to PATH";

const PROGRAMS: [Program; 34] = [
    program(
        "python",
        &["python3"],
        "python3",
        r#"python3 -c '
import json
rows = [{"id": i, "name": "n%d" % (i * 7919 % 100003), "tags": ["t%d" % (i % k) for k in (3, 7, 11)]} for i in range(60000)]
rows = json.loads(json.dumps(rows))
names = {}
for row in rows: names.setdefault(row["name"][:3], []).append(row)
print(sum(len(" ".join(sorted(r["name"] for r in group))) for group in names.values()))'"#,
    ),
    program(
        "python-trees",
        &["python3"],
        "python3",
        r#"python3 -c '
import ast
text = "\n".join("def f%d(a, b=%d):\n    return [a + x * b for x in range(%d) if x %% 3] or {a: (b, %d)}" % (i, i, i, i) for i in range(2000))
tree = ast.parse(text)
print(len(ast.dump(tree)), len(compile(tree, "x", "exec").co_consts))'"#,
    ),
    program(
        "sqlite",
        &["sqlite3"],
        "sqlite3",
        r#"sqlite3 :memory: "
create table t(a integer primary key, b text, c text);
with recursive n(i) as (select 1 union all select i + 1 from n where i < 250000)
insert into t select i, hex(i * 7919 % 100003), printf('%d-%s', i, hex(zeroblob(i % 60))) from n;
create index b on t(b);
select count(*), max(length(c)) from t x join t y on x.b = y.b where x.a % 5 = 0;
select substr(b, 1, 4) p, group_concat(a) from t group by p order by length(c) limit 3;" | wc -c"#,
    ),
    program(
        "perl",
        &["perl"],
        "perl",
        r#"perl -e '
for my $i (1 .. 300000) { my $k = join("-", map { $i * $_ % 1009 } 3, 5, 7); push @{$h{substr($k, 0, 4)}}, $k; }
for my $k (sort keys %h) { my $s = join(",", sort @{$h{$k}}); $n += () = $s =~ /(\d+)-\1/g; $n += length $s; }
print "$n\n"'"#,
    ),
    program(
        "node",
        &["node"],
        "nodejs",
        r#"node -e '
const zlib = require("zlib"); let n = 0, kept = [];
for (let i = 0; i < 6000; i++) {
  const b = Buffer.alloc(1000 + i * 37 % 60000, i % 251); kept[i % 500] = b;
  if (i % 20 === 0) n += zlib.deflateSync(Buffer.concat(kept.filter(Boolean).slice(0, 20))).length;
}
console.log(n)'"#,
    ),
    program(
        "g++",
        &["g++"],
        "g++",
        r"printf '#include <regex>\n#include <map>\n#include <iostream>\nint main() { std::map<std::string, std::regex> m; std::cout << m.size(); }\n' > $d/a.cc && g++ -O1 -c $d/a.cc -o $d/a.o",
    ),
    program(
        "clang++",
        &["clang++"],
        "clang",
        r"printf '#include <regex>\n#include <map>\n#include <iostream>\nint main() { std::map<std::string, std::regex> m; std::cout << m.size(); }\n' > $d/a.cc && clang++ -O1 -c $d/a.cc -o $d/a.o",
    ),
    program(
        "rustc",
        &["rustc"],
        "rustc",
        r##"(for i in $(seq 400); do echo "#[derive(Debug, Clone, PartialEq, Default)] pub struct S$i { pub a: Vec<u8>, pub b: Option<String>, pub c: [u64; $((i % 30))] }"; done) > $d/a.rs && rustc --crate-type lib --emit metadata --out-dir $d $d/a.rs"##,
    ),
    program(
        "git",
        &["git"],
        "git",
        r"cd $d && git init -q . && for i in $(seq 300); do seq $i $((i * 17)) > f$i; done && git add . && git -c user.name=a -c user.email=a@b commit -qm a && for i in $(seq 1 3 300); do seq $((i + 1)) $((i * 18)) > f$i; done && git -c user.name=a -c user.email=a@b commit -qam b && git gc -q --aggressive && git fsck --no-progress && git log -p | wc -c",
    ),
    program(
        "redis",
        &["redis-server", "redis-benchmark"],
        "redis",
        r#"cd $d && redis-server --port 0 --unixsocket $d/s --save "" --daemonize yes --pidfile $d/p --logfile $d/l > $d/out && while ! [ -S $d/s ]; do sleep 0.05; done && redis-benchmark -s $d/s -q -n 60000 -r 50000 -P 8 -t set,get,lpush,lpop,hset,zadd,lrange_100 > $d/out; kill $(cat $d/p)"#,
    ),
    program(
        "java",
        &["java", "javac"],
        "default-jdk-headless",
        r#"printf 'import java.util.*; public class A { public static void main(String[] x) { Map<String, List<Integer>> m = new TreeMap<>(); for (int i = 0; i < 400000; i++) m.computeIfAbsent("k" + i %% 977, k -> new ArrayList<>()).add(i); System.out.println(m.size()); } }' > $d/A.java && javac -d $d $d/A.java && java -Xmx256m -cp $d A"#,
    ),
    program(
        "bash",
        &["bash"],
        "bash",
        r#"bash -c 'declare -A m; for ((i = 0; i < 60000; i++)); do k=$((i * 7919 % 9973)); m[k$k]+="x$i,"; done; s=0; for k in "${!m[@]}"; do v=${m[$k]//x/yy}; s=$((s + ${#v})); done; echo $s'"#,
    ),
    program(
        "gawk",
        &["gawk"],
        "gawk",
        r#"seq 700000 | gawk '{ k = $1 * 7919 % 100003; a[k] = a[k] "," $1; n[substr(k, 1, 2)]++ } END { for (k in a) s += length(a[k]); print s, length(n) }'"#,
    ),
    program(
        "sort",
        &["sort"],
        "coreutils",
        r"seq 400000 | sed 's/\(.*\)\(..\)$/\2 \1/' | sort -k1,1 -k2n | tail -1",
    ),
    program(
        "ruby",
        &["ruby"],
        "ruby",
        r#"ruby -e 'h = Hash.new { |g, k| g[k] = [] }; 300_000.times { |i| h["k#{i * 7919 % 10007}"] << "v#{i}" }; puts h.values.map { |v| v.sort.join(",").gsub("v", "w").size }.sum'"#,
    ),
    program(
        "lua",
        &["lua5.4"],
        "lua5.4",
        r"lua5.4 -e 'local t = {} for i = 1, 1500000 do local k = i * 7919 % 200003; t[k] = { i, t[k] and t[k][1] or 0, tostring(i) } end local n = 0 for k, v in pairs(t) do n = n + #v[3] end print(n)'",
    ),
    program(
        "php",
        &["php"],
        "php-cli",
        r#"USE_ZEND_ALLOC=0 php -n -r '$a = []; for ($i = 0; $i < 700000; $i++) { $k = "k" . ($i * 7919 % 100003); $a[$k][] = "v$i"; } ksort($a); $n = 0; foreach ($a as $v) $n += strlen(implode(",", $v)); echo $n;'"#,
    ),
    program(
        "jq",
        &["jq"],
        "jq",
        r#"jq -n '[range(150000) | {id: ., name: "n\(. * 7919 % 100003)", tags: [. % 3, . % 7]}] | group_by(.tags) | map({n: length, s: (map(.name) | sort | join(","))}) | map(.s | length) | add'"#,
    ),
    program(
        "xmllint",
        &["xmllint"],
        "libxml2-utils",
        r#"(echo '<r>'; seq 200000 | sed 's|.*|<e id="i&"><a>&</a><b c="&">text &</b></e>|'; echo '</r>') > $d/a.xml && xmllint --format $d/a.xml | wc -c && xmllint --xpath 'count(//e[a mod 7 = 3]/b)' $d/a.xml"#,
    ),
    program(
        "dot",
        &["dot"],
        "graphviz",
        r#"(echo 'digraph g {'; for i in $(seq 150); do echo "n$i -> n$((i * 7 % 151)); n$i -> n$((i * 13 % 151));"; done; echo '}') | dot -Tsvg | wc -c"#,
    ),
    program(
        "ffmpeg",
        &["ffmpeg"],
        "ffmpeg",
        r#"ffmpeg -loglevel error -f lavfi -i testsrc=size=640x360:rate=30:duration=6 -vf "scale=320:180,hue=s=0.5" -c:v mpeg4 -f null -"#,
    ),
    program("xz", &["xz"], "xz-utils", r"seq 400000 > $d/a && xz -6 -T2 -c $d/a | xz -d | cksum"),
    program(
        "zstd",
        &["zstd"],
        "zstd",
        r"seq 1500000 > $d/a && zstd -q -12 -T2 -c $d/a | zstd -d | cksum",
    ),
    program(
        "cfrac",
        &["cfrac"],
        MIMALLOC_BENCH,
        "cfrac 17545186520507317056371138836327483792789528",
    ),
    program("alloc-test1", &["alloc-test"], MIMALLOC_BENCH, "alloc-test 1"),
    program("alloc-test2", &["alloc-test"], MIMALLOC_BENCH, "alloc-test 2"),
    program("sh6bench", &["sh6bench"], MIMALLOC_BENCH, "sh6bench 4"),
    program("sh8bench", &["sh8bench"], MIMALLOC_BENCH, "sh8bench 4"),
    program(
        "cache-scratch1",
        &["cache-scratch"],
        MIMALLOC_BENCH,
        "cache-scratch 1 1000 1 2000000 2",
    ),
    program(
        "cache-scratch2",
        &["cache-scratch"],
        MIMALLOC_BENCH,
        "cache-scratch 2 1000 1 2000000 2",
    ),
    program("malloc-large", &["malloc-large"], MIMALLOC_BENCH, "malloc-large"),
    program("mstress", &["mstress"], MIMALLOC_BENCH, "mstress 2 50 25"),
    program("mleak10", &["mleak"], MIMALLOC_BENCH, "mleak 5"),
    program("glibc-simple", &["glibc-simple"], MIMALLOC_BENCH, "glibc-simple"),
];

/// The targets: at most 0.97 of the best one's time in the mean, at most 1.05 of the best one's on
/// each program, at most 1.05 of glibc's peak.
pub(super) const TARGETS: Targets =
    Targets { case: 1.0 / 1.05, mean: 1.0 / 0.97, peak: 1.05, frugal: &["glibc"] };

const fn program(
    name: &'static str,
    needs: &'static [&'static str],
    source: &'static str,
    line: &'static str,
) -> Program {
    Program { name, needs, source, line }
}

impl Program {
    /// Returns the programs that it needs and that `is_here` does not find.
    fn lacks(&self, is_here: impl Fn(&str) -> bool) -> Vec<&'static str> {
        self.needs.iter().copied().filter(|need| !is_here(need)).collect()
    }
}

/// Returns the programs that are here. Each runs in an empty directory of its own.
pub(super) fn cases(level: Level, rounds: Option<u32>) -> Vec<Case> {
    let case = |program: &Program| {
        let line = program.line;
        let line = format!("d=$(mktemp -d) && trap 'rm -rf \"$d\"' EXIT && {{ {line}\n}}");
        Case {
            name: program.name.to_owned(),
            what: What::Command(line),
            is_speed: true,
            rounds: rounds.unwrap_or(level.rounds()),
        }
    };
    PROGRAMS.iter().filter(|program| program.lacks(is_on_path).is_empty()).map(case).collect()
}

/// Returns the programs that are not here, and how to get them.
pub(super) fn missing() -> Vec<Missing> {
    let name =
        |program: &Program, lacks: &[&str]| format!("{} ({})", program.name, lacks.join(", "));
    let missing = PROGRAMS.iter().filter_map(|program| {
        let lacks = program.lacks(is_on_path);
        let remedy = match program.source {
            MIMALLOC_BENCH => MIMALLOC_BENCH.to_owned(),
            package => format!("apt-get install {package}"),
        };
        (!lacks.is_empty()).then(|| Missing { name: name(program, &lacks), remedy })
    });
    missing.collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::experiment::cases::Suite;

    #[test]
    fn a_program_is_here_or_named_as_missing() {
        assert_eq!(cases(Level::Quick, None).len() + missing().len(), PROGRAMS.len());
        assert!(is_on_path("sh") && !is_on_path("no such program") && !is_on_path("/"));
        assert_eq!(PROGRAMS[0].lacks(|_| false), ["python3"]);
        let names: std::collections::HashSet<&str> = PROGRAMS.iter().map(|p| p.name).collect();
        assert_eq!(names.len(), PROGRAMS.len(), "a name twice");
        assert!(!Suite::Programs.missing().is_empty() || missing().is_empty());
    }

    /// On the system's allocator, so that what fails is the line. Two run at a time, each in its
    /// own directory.
    #[test]
    fn every_program_that_is_here_does_its_work() {
        let is_built = |case: &Case| {
            MIMALLOC_BENCH == PROGRAMS.iter().find(|p| p.name == case.name).unwrap().source
        };
        let mut waiting = cases(Level::Quick, Some(1));
        waiting.retain(|case| !is_built(case));
        let count = waiting.len();
        let (waiting, run) = (Mutex::new(waiting), AtomicUsize::new(0));
        let work = || {
            // The lock is free while the program runs.
            let next = || waiting.lock().unwrap().pop();
            while let Some(case) = next() {
                let What::Command(line) = &case.what else { panic!("{case:?}") };
                let done = std::process::Command::new("sh").args(["-c", line]).output().unwrap();
                assert!(done.status.success(), "{}: {done:?}", case.name);
                run.fetch_add(1, Ordering::Relaxed);
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(work);
            work();
        });
        assert_eq!(run.into_inner(), count);
    }
}
