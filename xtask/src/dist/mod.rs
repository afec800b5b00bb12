//! `cargo xtask dist` and `cargo xtask install`: what others get of hz3.
//!
//! Everything is made of the tree that [`layout`] lays out below a prefix: `install` leaves it
//! there, `dist` packs it. The build does not depend on where the sources lie, on the time or on
//! the user: two builds of one commit give the same bytes.

mod archive;
mod build;
mod debian;
mod layout;
mod library;
mod platform;
mod verify;

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use hz3_tools::{Failure, Result};

use crate::shell;
use platform::Platform;

/// The options of `dist`.
#[derive(Debug, Args)]
pub(crate) struct DistArgs {
    /// Platforms to build for; may be given several times [default: this machine's]
    #[arg(long = "target", value_name = "TRIPLE")]
    targets: Vec<String>,
    /// Build the Debian packages too (needs dpkg-deb)
    #[arg(long)]
    deb: bool,
    /// Build again from a clone in another directory, and fail unless every byte is the same
    #[arg(long)]
    verify: bool,
    /// Where the packages are put [default: target/dist]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// The options of `install`.
#[derive(Debug, Args)]
pub(crate) struct InstallArgs {
    /// Directory that gets bin, lib, include and share
    #[arg(long, value_name = "DIR", default_value = "/usr/local")]
    prefix: PathBuf,
    /// Directory in front of the prefix, for packagers: files go to DESTDIR/PREFIX
    #[arg(long, value_name = "DIR")]
    destdir: Option<PathBuf>,
    /// Platform to build for [default: this machine's]
    #[arg(long, value_name = "TRIPLE")]
    target: Option<String>,
}

/// Builds the packages of each platform and says where they are.
pub(crate) fn run(arguments: &DistArgs) -> Result {
    // Before the minutes of building.
    build::require_program("xz", "xz-utils")?;
    if arguments.deb {
        build::require_program("dpkg-deb", "dpkg")?;
    }
    let out = arguments.out.clone().unwrap_or_else(|| shell::target().join("dist"));
    fs::create_dir_all(&out)?;
    let mut made = Vec::new();
    let names = if arguments.targets.is_empty() {
        vec![platform::host()?]
    } else {
        arguments.targets.clone()
    };
    for name in &names {
        let platform = Platform::named(name)?;
        let built = build::build(platform)?;
        let stage = shell::target().join("dist-stage").join(platform.triple);
        shell::empty(&stage)?;
        let name = format!("hz3-{}-{}", build::VERSION, platform.triple);
        layout::lay_out(platform, &built, &stage.join(&name))?;
        made.push(archive::pack(&stage, &name, &out)?);
        if arguments.deb {
            made.extend(debian::packages(platform, &stage.join(&name), &stage, &out)?);
        }
    }
    for file in &made {
        println!("{}", file.display());
    }
    if arguments.verify { verify::same_elsewhere(&names, arguments.deb, &made) } else { Ok(()) }
}

/// Builds the packages of this machine's platform twice, in two directories, and compares them.
pub(crate) fn verified() -> Result {
    run(&DistArgs { targets: Vec::new(), deb: true, verify: true, out: None })
}

/// Builds hz3 and puts it below a prefix.
pub(crate) fn install(arguments: &InstallArgs) -> Result {
    let name = arguments.target.clone().map_or_else(platform::host, Ok)?;
    if !arguments.prefix.is_absolute() && arguments.destdir.is_some() {
        return Err(Failure::new("with --destdir the prefix must be an absolute path"));
    }
    let platform = Platform::named(&name)?;
    let built = build::build(platform)?;
    let prefix = std::path::absolute(&arguments.prefix)?;
    let place = match &arguments.destdir {
        Some(root) => root.join(prefix.strip_prefix("/").unwrap_or(&prefix)),
        None => prefix,
    };
    layout::lay_out(platform, &built, &place)?;
    println!("installed below {}", place.display());
    let plain = ["/usr", "/usr/local"].iter().any(|usual| place == Path::new(usual));
    if plain {
        println!("run ldconfig once, so that programs linked with -lhz3 find the library");
    }
    Ok(())
}
