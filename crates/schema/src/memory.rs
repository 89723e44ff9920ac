//! How much memory can still be had: what the system has left, and what the control groups of the process leave it.

use std::fs;
use std::path::{Path, PathBuf};

/// Bytes of memory that can still be had; none where the system does not say.
pub fn available() -> Option<u64> {
    let read = |path: &Path| fs::read_to_string(path).ok();
    let of_groups = groups(&read(Path::new("/proc/self/cgroup")).unwrap_or_default());
    let rooms = of_groups.iter().filter_map(|group| group.room(&read));
    rooms.chain(of_system(&read(Path::new("/proc/meminfo")).unwrap_or_default())).min()
}

/// What `/proc/meminfo` says.
fn of_system(text: &str) -> Option<u64> {
    let kib = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?.trim().strip_suffix("kB")?;
    Some(kib.trim().parse::<u64>().ok()? * 1024)
}

/// A control group's folder and the names of its files.
#[derive(Debug, PartialEq)]
struct Group {
    folder: PathBuf,
    limit: &'static str,
    used: &'static str,
    /// Of `memory.stat`: what is of files and is given up where memory is short.
    given_up: &'static str,
}

/// The groups that a process is in, each with those above it; a container sees its own as the root.
fn groups(text: &str) -> Vec<Group> {
    let of = |line: &str| -> Option<Vec<Group>> {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        let (root, limit, used, given_up) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"),
            "memory" => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            }
            _ => return None,
        };
        let above = Path::new(path.trim_start_matches('/')).ancestors();
        Some(above.map(|path| Group { folder: Path::new(root).join(path), limit, used, given_up }).collect())
    };
    text.lines().filter_map(of).flatten().collect()
}

impl Group {
    /// What its limit leaves; none where it has no limit.
    fn room(&self, read: &dyn Fn(&Path) -> Option<String>) -> Option<u64> {
        let number = |name: &str| read(&self.folder.join(name))?.trim().parse::<u64>().ok();
        let (limit, used) = (number(self.limit)?, number(self.used)?);
        let stat = read(&self.folder.join("memory.stat")).unwrap_or_default();
        let mut figures = stat.lines().filter_map(|line| line.split_once(' '));
        let given_up = figures.find(|(name, _)| *name == self.given_up).and_then(|(_, n)| n.trim().parse().ok());
        Some(limit.saturating_sub(used.saturating_sub(given_up.unwrap_or(0))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_group_leaves_is_its_limit_less_what_it_cannot_give_up() {
        let files = |path: &Path| {
            let text = match path.to_str()? {
                "/sys/fs/cgroup/a/b/memory.max" => "1000\n",
                "/sys/fs/cgroup/a/b/memory.current" => "700\n",
                "/sys/fs/cgroup/a/b/memory.stat" => "anon 600\ninactive_file 80\n",
                "/sys/fs/cgroup/a/memory.max" => "max\n",
                "/sys/fs/cgroup/memory/memory.limit_in_bytes" => "500\n",
                "/sys/fs/cgroup/memory/memory.usage_in_bytes" => "600\n",
                _ => return None,
            };
            Some(text.to_owned())
        };
        let rooms = |text: &str| groups(text).iter().filter_map(|group| group.room(&files)).collect::<Vec<_>>();
        assert_eq!(rooms("0::/a/b\n"), [380], "a group without a limit says nothing");
        assert_eq!(rooms("4:memory:/elsewhere\n3:cpuset:/a/b\n0::/\n"), [0], "what is above counts too");
        assert!(rooms("").is_empty());
    }

    #[test]
    fn what_the_system_has_is_read() {
        assert_eq!(of_system("MemTotal: 9 kB\nMemAvailable:    2048 kB\n"), Some(2 << 20));
        assert_eq!(of_system("MemTotal: 9 kB\n"), None);
    }
}
