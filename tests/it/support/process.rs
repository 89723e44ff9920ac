//! Watches a running process: its memory, and its end by force.

use std::fs;
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

/// Largest `RssAnon` of the process in bytes until it ends by itself, which it must do with exit code 0.
///
/// Anonymous memory is what the program allocated; pages of mapped files come and go with the system's cache.
pub(crate) fn peak_anonymous_memory(child: &mut Child) -> u64 {
    let mut peak = 0;
    loop {
        peak = peak.max(anonymous_memory(child.id()).unwrap_or(0));
        if let Some(status) = child.try_wait().expect("our own child") {
            assert!(status.success(), "the run failed: {status}");
            return peak;
        }
        thread::sleep(Duration::from_millis(5));
    }
}

fn anonymous_memory(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

/// Lets a process run for `delay` and ends it with SIGKILL; says whether it was still running then.
pub(crate) fn kill_after(mut child: Child, delay: Duration) -> bool {
    thread::sleep(delay);
    let was_running = child.try_wait().expect("our own child").is_none();
    child.kill().expect("our own child can be killed");
    child.wait().expect("our own child can be waited for");
    was_running
}

/// How long something takes.
pub(crate) fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let result = work();
    (result, start.elapsed())
}
