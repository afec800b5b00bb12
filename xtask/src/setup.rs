//! The Debian packages that the tests and the chores need.

use hz3_programs::{Failure, Result, packages};

use crate::shell;

/// Installs what is missing when `may_install` and we are root; otherwise fails with the command to type.
pub(crate) fn ensure(may_install: bool) -> Result {
    let missing = packages::missing();
    if missing.is_empty() {
        return Ok(());
    }
    let line = packages::apt_line(&missing);
    if !may_install {
        return Err(Failure::new(format!("packages are missing; install them with: {line}")));
    }
    if shell::capture(shell::program("id").arg("-u"))?.trim() != "0" {
        return Err(Failure::new(format!(
            "packages are missing and only root can install them; type: sudo {line}"
        )));
    }
    println!("Installing the Debian packages that the tests need: {}", missing.join(" "));
    let apt = |arguments: &[&str]| {
        let mut command = shell::program("apt-get");
        command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
        shell::run(&mut command)
    };
    apt(&["update", "-q"])?;
    let mut arguments: Vec<&str> = line.split(' ').skip(1).collect();
    arguments.push("-q");
    apt(&arguments)?;
    let still = packages::missing();
    if still.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!("installed, but their files are not there: {}", still.join(" "))))
}
