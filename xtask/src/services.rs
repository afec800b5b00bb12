//! Keeps the services of packages from starting while they are installed, and from being enabled
//! then.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use hz3_tools::Result;

use crate::shell;

/// Debian's maintainer scripts ask this program whether they may start a service; 101 means no.
const POLICY: &str = "/usr/sbin/policy-rc.d";
const REFUSES: &str = "#!/bin/sh\nexit 101\n";

/// While this lives, no package starts a service.
pub(crate) struct Quiet {
    /// Whether the policy is ours to remove. Containers often have one of their own that refuses
    /// too.
    ours: bool,
}

impl Quiet {
    pub(crate) fn begin() -> Result<Self> {
        let ours = !Path::new(POLICY).exists();
        if ours {
            fs::write(POLICY, REFUSES)?;
            fs::set_permissions(POLICY, Permissions::from_mode(0o755))?;
        }
        Ok(Self { ours })
    }
}

/// Disables every service that these packages brought, for systemd and for System V's scripts.
pub(crate) fn disable_all<'a>(packages: impl Iterator<Item = &'a str>) -> Result {
    for package in packages {
        let files = shell::capture(shell::program("dpkg-query").args(["--listfiles", package]))?;
        for service in services(&files) {
            disable(service)?;
        }
    }
    Ok(())
}

impl Drop for Quiet {
    fn drop(&mut self) {
        if self.ours && fs::remove_file(POLICY).is_err() {
            eprintln!("xtask: {POLICY} keeps services from starting; please remove it");
        }
    }
}

enum Service<'a> {
    Unit(&'a str),
    Script(&'a str),
}

/// Returns the units and scripts among a package's files. Templates ("name@.service") cannot be
/// enabled.
fn services(files: &str) -> impl Iterator<Item = Service<'_>> {
    files.lines().filter_map(|file| {
        let (folder, name) = file.rsplit_once('/')?;
        match folder.trim_start_matches("/usr") {
            "/lib/systemd/system" => {
                let starts = [".service", ".socket", ".timer", ".path"];
                let unit = starts.iter().any(|end| name.ends_with(end)) && !name.contains('@');
                unit.then_some(Service::Unit(name))
            }
            "/etc/init.d" => Some(Service::Script(name)),
            _ => None,
        }
    })
}

fn disable(service: Service<'_>) -> Result {
    let mut command = match service {
        Service::Unit(name) if Path::new("/usr/bin/systemctl").exists() => {
            let mut command = shell::program("systemctl");
            command.args(["--quiet", "disable", name]);
            command
        }
        Service::Script(name) if Path::new("/usr/sbin/update-rc.d").exists() => {
            let mut command = shell::program("update-rc.d");
            command.args([name, "disable"]);
            command
        }
        // Nothing starts it on a machine without the program that would.
        Service::Unit(_) | Service::Script(_) => return Ok(()),
    };
    shell::run(&mut command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_and_scripts_are_found_and_templates_are_not() {
        let files = "/.\n/etc/init.d/redis-server\n/lib/systemd/system/redis-server.service\n\
            /usr/lib/systemd/system/nginx.service\n/lib/systemd/system/redis-server@.service\n\
            /usr/bin/redis-server\n/lib/systemd/system/x.slice\n";
        let found: Vec<_> = services(files)
            .map(|service| match service {
                Service::Unit(name) => format!("unit {name}"),
                Service::Script(name) => format!("script {name}"),
            })
            .collect();
        let wanted = ["script redis-server", "unit redis-server.service", "unit nginx.service"];
        assert_eq!(found, wanted);
    }
}
