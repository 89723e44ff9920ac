//! How much memory this process holds that is neither file nor shared.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// Runs `work` and samples this process' `RssAnon` every few milliseconds meanwhile; the largest sample, in MiB.
pub(crate) fn peak_during<R>(work: impl FnOnce() -> R) -> (R, Option<f64>) {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let sampler = scope.spawn(|| {
            let mut peak = rss_anon_mib();
            while !done.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(2));
                peak = rss_anon_mib().into_iter().chain(peak).reduce(f64::max);
            }
            peak
        });
        let result = work();
        done.store(true, Ordering::Relaxed);
        (result, sampler.join().unwrap_or_default())
    })
}

/// `RssAnon` of this process in MiB; none where the system does not say.
fn rss_anon_mib() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1024.0)
}
