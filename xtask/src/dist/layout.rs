//! The places of installed files below a prefix.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use hz3_tools::{Failure, Result};

use super::build::{Built, VERSION};
use super::library::{JEMALLOC, SONAME};
use super::platform::Platform;
use crate::shell;

/// The shells that have completions, and where each looks for them.
const COMPLETIONS: [(&str, &str); 3] = [
    ("bash", "share/bash-completion/completions/hz3"),
    ("fish", "share/fish/vendor_completions.d/hz3.fish"),
    ("zsh", "share/zsh/site-functions/_hz3"),
];

/// Files of the repository that go along as they are.
const COPIED: [(&str, &str); 7] = [
    ("crates/hz3-c/include/hz3.h", "include/hz3.h"),
    ("packaging/hz3-config.cmake", "lib/cmake/hz3/hz3-config.cmake"),
    ("LICENSE-APACHE", "share/doc/hz3/LICENSE-APACHE"),
    ("LICENSE-MIT", "share/doc/hz3/LICENSE-MIT"),
    ("README.md", "share/doc/hz3/README.md"),
    ("CHANGELOG.md", "share/doc/hz3/CHANGELOG.md"),
    ("docs/tuning.md", "share/doc/hz3/tuning.md"),
];

/// Files that state the version.
const TEMPLATES: [(&str, &str); 3] = [
    ("packaging/hz3.pc.in", "lib/pkgconfig/hz3.pc"),
    ("packaging/hz3-config-version.cmake.in", "lib/cmake/hz3/hz3-config-version.cmake"),
    ("packaging/libhz3.7.in", "share/man/man7/libhz3.7"),
];

/// Puts everything below `prefix`. Replaces files, removes none.
pub(super) fn lay_out(platform: &Platform, built: &Built, prefix: &Path) -> Result {
    let versioned = format!("libhz3.so.{VERSION}");
    let library = prefix.join("lib").join(&versioned);
    put(&built.shared, &library, 0o755)?;
    link(&versioned, &library.with_file_name(SONAME))?;
    link(SONAME, &library.with_file_name("libhz3.so"))?;
    put(&built.jemalloc, &prefix.join("lib").join(JEMALLOC), 0o755)?;
    put(&built.archive, &prefix.join("lib/libhz3.a"), 0o644)?;
    for (source, place) in COPIED {
        put(&shell::root().join(source), &prefix.join(place), 0o644)?;
    }
    for (source, place) in TEMPLATES {
        let text = fs::read_to_string(shell::root().join(source))?;
        write(&prefix.join(place), &filled(&text)?)?;
    }
    let Some(tools) = &built.tools else {
        println!("{}: without the program hz3, which measures glibc's programs", platform.triple);
        return Ok(());
    };
    put(&tools.packaged, &prefix.join("bin/hz3"), 0o755)?;
    let pages = prefix.join("share/man/man1");
    fs::create_dir_all(&pages)?;
    shell::capture(shell::program(&tools.native).args(["man", "--dir"]).arg(&pages))?;
    for page in fs::read_dir(&pages)? {
        fs::set_permissions(page?.path(), fs::Permissions::from_mode(0o644))?;
    }
    for (shell_name, place) in COMPLETIONS {
        let mut command = shell::program(&tools.native);
        let script = shell::capture(command.args(["completions", shell_name]))?;
        write(&prefix.join(place), &script)?;
    }
    Ok(())
}

/// Returns a template with its placeholders filled in; one that is not known is a mistake.
fn filled(template: &str) -> Result<String> {
    let address = match env!("CARGO_PKG_REPOSITORY") {
        "" => String::new(),
        address => format!("URL: {address}\n"),
    };
    let text = template.replace("@VERSION@", VERSION).replace("@URL@\n", &address);
    match text.split('@').nth(1) {
        Some(name) if !name.is_empty() && name.chars().all(|c| c.is_ascii_uppercase()) => {
            Err(Failure::new(format!("a template has the unknown placeholder @{name}@")))
        }
        _ => Ok(text),
    }
}

fn put(source: &Path, place: &Path, mode: u32) -> Result {
    parent(place)?;
    // A library that programs have mapped must not change under them: a new file takes its place.
    if place.exists() {
        fs::remove_file(place)?;
    }
    fs::copy(source, place)
        .map_err(|error| Failure::from(error).during(&format!("copying {}", source.display())))?;
    fs::set_permissions(place, fs::Permissions::from_mode(mode))?;
    Ok(())
}

fn write(place: &Path, text: &str) -> Result {
    parent(place)?;
    fs::write(place, text)?;
    fs::set_permissions(place, fs::Permissions::from_mode(0o644))?;
    Ok(())
}

fn link(target: &str, place: &Path) -> Result {
    if place.symlink_metadata().is_ok() {
        fs::remove_file(place)?;
    }
    symlink(target, place)?;
    Ok(())
}

fn parent(place: &Path) -> Result {
    fs::create_dir_all(place.parent().unwrap_or(place))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_filled() {
        assert_eq!(filled("Version: @VERSION@\n").unwrap(), format!("Version: {VERSION}\n"));
        assert!(filled("@PREFIX@/lib").is_err());
        for (source, _) in TEMPLATES {
            let text = fs::read_to_string(shell::root().join(source)).unwrap();
            let text = filled(&text).unwrap();
            assert!(text.contains(VERSION), "{source}");
        }
    }

    #[test]
    fn the_man_page_has_every_function_of_the_header() {
        let read = |path| fs::read_to_string(shell::root().join(path)).unwrap();
        let (header, page) = (read("crates/hz3-c/include/hz3.h"), read("packaging/libhz3.7.in"));
        let declarations = header.lines().filter(|line| !line.starts_with([' ', '/', '#']));
        let names = declarations.filter_map(|line| {
            let (name, _) = line[line.find("hz3_")?..].split_once('(')?;
            Some(name)
        });
        let mut count = 0;
        for name in names {
            assert!(page.contains(&format!("{name}(")), "{name} is not in the synopsis");
            assert!(page.matches(name).count() > 1, "{name} is not explained");
            count += 1;
        }
        assert!(count > 5, "{count} functions");
    }

    #[test]
    fn what_is_copied_is_there() {
        for (source, _) in COPIED {
            assert!(shell::root().join(source).is_file(), "{source}");
        }
    }
}
