//! Git: a history made, cloned, packed hard with threads, and checked.

use hz3_programs::{Result, Run, Site, compare, input};

/// Files in the repository and commits on top of the first.
const FILES: usize = 60;
const COMMITS: u64 = 250;

/// A history as a stream for `git fast-import`: each commit edits three files.
fn history() -> Vec<u8> {
    let mut random = input::Random::new(11);
    let mut contents: Vec<String> =
        (1u64..).take(FILES).map(|seed| input::text(seed, 12_000)).collect();
    let mut stream = Vec::new();
    for commit in 0..=COMMITS {
        let message = input::text(commit + 1000, 120);
        let mut changed: Vec<usize> = (0..contents.len()).collect();
        if commit > 0 {
            changed = (0..3).map(|_| random.index(FILES)).collect();
            for &file in &changed {
                contents[file].push_str(&input::text(commit * 7 + 1, 200));
            }
        }
        let time = 1_700_000_000 + commit * 60;
        let who = format!("A U Thor <author@example.com> {time} +0000");
        stream.extend(
            format!("commit refs/heads/main\nauthor {who}\ncommitter {who}\n").into_bytes(),
        );
        stream.extend(format!("data {}\n{message}\n", message.len()).into_bytes());
        for file in changed {
            let body = &contents[file];
            stream.extend(format!("M 100644 inline dir{}/file{file}.txt\n", file % 7).into_bytes());
            stream.extend(format!("data {}\n{body}\n", body.len()).into_bytes());
        }
    }
    stream
}

fn git<'site>(site: &'site Site, args: &[&str]) -> Result<Run<'site>> {
    let mut run = site.run("git")?.args(args);
    for (name, value) in [
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_AUTHOR_NAME", "A U Thor"),
        ("GIT_AUTHOR_EMAIL", "author@example.com"),
        ("GIT_AUTHOR_DATE", "1800000000 +0000"),
        ("GIT_COMMITTER_NAME", "C O Mitter"),
        ("GIT_COMMITTER_EMAIL", "committer@example.com"),
        ("GIT_COMMITTER_DATE", "1800000000 +0000"),
    ] {
        run = run.env(name, value);
    }
    Ok(run)
}

#[test]
fn a_history_is_imported_cloned_packed_and_sound() -> Result {
    compare("git", 12, |site| {
        let mut result = Vec::new();
        let mut keep = |args: &[&str]| -> Result {
            result.extend(git(site, args)?.output()?.stdout);
            Ok(())
        };
        site.write("history", history())?;
        keep(&["init", "--quiet", "--initial-branch=main", "first"])?;
        git(site, &["-C", "first", "fast-import", "--quiet"])?.stdin("history")?.output()?;
        keep(&["-C", "first", "checkout", "--quiet", "main"])?;
        // `file://` makes clone pack and unpack instead of copying files.
        let url = format!("file://{}", site.path("first").display());
        keep(&["clone", "--quiet", &url, "second"])?;
        for number in 0..15 {
            let file = format!("second/dir{}/new{number}.txt", number % 7);
            site.write(&file, input::text(number + 500, 9000))?;
            keep(&["-C", "second", "add", "--all"])?;
            keep(&["-C", "second", "commit", "--quiet", "--message", &format!("new {number}")])?;
        }
        keep(&[
            "-C",
            "second",
            "-c",
            "pack.threads=2",
            "gc",
            "--quiet",
            "--aggressive",
            "--prune=now",
        ])?;
        keep(&["-C", "second", "fsck", "--full", "--strict"])?;
        keep(&["-C", "second", "count-objects"])?;
        keep(&["-C", "second", "log", "--stat", "--format=%H %T %s"])?;
        keep(&["-C", "second", "grep", "--count", "--threads=2", "kari"])?;
        keep(&["-C", "second", "diff", "--stat", "-M", "HEAD~200", "HEAD"])?;
        keep(&["-C", "second", "blame", "--porcelain", "dir1/file1.txt"])?;
        Ok(result)
    })
}
