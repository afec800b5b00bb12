//! Memory charged to the control group that this program runs in.

use std::path::PathBuf;
use std::sync::OnceLock;

/// Returns the charge in KiB; `None` if no memory controller can be read.
pub(crate) fn current_kb() -> Option<u64> {
    static FILE: OnceLock<Option<PathBuf>> = OnceLock::new();
    let file = FILE.get_or_init(|| locate(&std::fs::read_to_string("/proc/self/cgroup").ok()?));
    let bytes: u64 = std::fs::read_to_string(file.as_ref()?).ok()?.trim().parse().ok()?;
    Some(bytes / 1024)
}

/// Finds the first possible file that exists: version 2, version 1, and each of them as seen inside
/// a container, where the group is mounted as the root.
fn locate(membership: &str) -> Option<PathBuf> {
    candidates(membership).into_iter().find(|file| file.is_file())
}

fn candidates(membership: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in membership.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(group)) = (fields.next(), fields.next()) else { continue };
        let (mount, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.current"),
            c if c.split(',').any(|c| c == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.usage_in_bytes")
            }
            _ => continue,
        };
        files.push(PathBuf::from(format!("{mount}{group}/{file}").replace("//", "/")));
        files.push(PathBuf::from(format!("{mount}/{file}")));
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_of_the_interface_are_tried() {
        let files = candidates("4:cpu,memory:/a/b\n1:name=systemd:/\n0::/c\n");
        let names: Vec<_> = files.iter().map(|f| f.to_str().unwrap()).collect();
        let expected = [
            "/sys/fs/cgroup/memory/a/b/memory.usage_in_bytes",
            "/sys/fs/cgroup/memory/memory.usage_in_bytes",
            "/sys/fs/cgroup/c/memory.current",
            "/sys/fs/cgroup/memory.current",
        ];
        assert_eq!(names, expected);
    }
}
