//! The platforms that hz3 is packaged for.

use hz3_tools::{Failure, Result};

use crate::shell;

/// The C library of a platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Libc {
    Glibc,
    Musl,
}

/// One platform, and the tools that link for it.
#[derive(Debug)]
pub(super) struct Platform {
    /// Rust's name of it.
    pub(super) triple: &'static str,
    /// The processor, as the lists of glibc's symbols name it.
    pub(super) cpu: &'static str,
    pub(super) libc: Libc,
    /// The C compiler, which also links. For musl that of glibc will do: it uses nothing of either.
    pub(super) cc: &'static str,
    /// binutils' strip.
    pub(super) strip: &'static str,
    /// Debian's name of the processor, and of its library directory.
    pub(super) debian: Option<(&'static str, &'static str)>,
    /// The Debian packages that bring these tools.
    pub(super) packages: &'static str,
}

/// All of them.
pub(super) const PLATFORMS: [Platform; 4] = [
    Platform {
        triple: "x86_64-unknown-linux-gnu",
        cpu: "x86_64",
        libc: Libc::Glibc,
        cc: "x86_64-linux-gnu-gcc",
        strip: "x86_64-linux-gnu-strip",
        debian: Some(("amd64", "x86_64-linux-gnu")),
        packages: "gcc libc6-dev",
    },
    Platform {
        triple: "aarch64-unknown-linux-gnu",
        cpu: "aarch64",
        libc: Libc::Glibc,
        cc: "aarch64-linux-gnu-gcc",
        strip: "aarch64-linux-gnu-strip",
        debian: Some(("arm64", "aarch64-linux-gnu")),
        packages: "gcc-aarch64-linux-gnu libc6-dev-arm64-cross",
    },
    Platform {
        triple: "x86_64-unknown-linux-musl",
        cpu: "x86_64",
        libc: Libc::Musl,
        cc: "x86_64-linux-gnu-gcc",
        strip: "x86_64-linux-gnu-strip",
        debian: None,
        packages: "gcc",
    },
    Platform {
        triple: "aarch64-unknown-linux-musl",
        cpu: "aarch64",
        libc: Libc::Musl,
        cc: "aarch64-linux-gnu-gcc",
        strip: "aarch64-linux-gnu-strip",
        debian: None,
        packages: "gcc-aarch64-linux-gnu",
    },
];

impl Platform {
    /// Returns the platform of this name.
    pub(super) fn named(triple: &str) -> Result<&'static Self> {
        PLATFORMS.iter().find(|platform| platform.triple == triple).ok_or_else(|| {
            let known: Vec<&str> = PLATFORMS.iter().map(|platform| platform.triple).collect();
            Failure::new(format!("no packages for {triple}; there are {}", known.join(", ")))
        })
    }
}

/// Rust's name of this machine's platform.
pub(super) fn host() -> Result<String> {
    let version = shell::capture(shell::program("rustc").arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| Failure::new("rustc -vV names no host"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_platform_names_the_known_ones() {
        let error = Platform::named("m68k-unknown-linux-gnu").expect_err("is not packaged");
        assert!(error.to_string().contains("aarch64-unknown-linux-gnu"));
    }
}
