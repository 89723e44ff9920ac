//! Memory, disk, arithmetic and time, as they are printed.

use crate::context::Context;
use serde::Serialize;
use serde_json::Value;
use std::fs;
use std::io::{self, Write};
use untangle_model::LanguageModel;

/// What a command would take.
#[derive(Debug, Serialize)]
pub(super) struct Resources {
    pub(super) memory: Parts,
    pub(super) disk: Parts,
    pub(super) flops: Option<Flops>,
    /// None of what goes on until it is stopped.
    pub(super) time: Option<Time>,
    /// What was decided, for programs.
    pub(super) plans: Value,
}

/// Bytes and what they are for.
#[derive(Debug, Serialize)]
pub(super) struct Parts {
    /// At the most.
    pub(super) bytes: u64,
    /// Parts, which need not all be there at the same time.
    pub(super) parts: Vec<(&'static str, u64)>,
}

impl Parts {
    /// All of these at the same time.
    pub(super) fn together(parts: Vec<(&'static str, u64)>) -> Self {
        Parts { bytes: parts.iter().map(|(_, bytes)| bytes).sum(), parts }
    }
}

/// Floating-point operations; a multiplication and an addition are two.
#[derive(Debug, Serialize)]
pub(super) struct Flops {
    pub(super) expected: f64,
    pub(super) least: f64,
    pub(super) most: f64,
}

impl Flops {
    /// Of passes of so many tokens through a model with so many weights: two for every weight and token. Embeddings are
    /// looked up, so this is a little too much.
    pub(super) fn of_passes(weights: usize, tokens: u64) -> Self {
        let flops = 2.0 * weights as f64 * tokens as f64;
        Flops { expected: flops, least: flops, most: flops }
    }
}

/// The numbers that a model consists of.
pub(super) fn weights(model: &LanguageModel) -> usize {
    model.parameters().iter().map(|(_, tensor)| tensor.numel()).sum()
}

/// Seconds.
#[derive(Debug, Serialize)]
pub(super) struct Time {
    pub(super) expected: f64,
    pub(super) least: f64,
    pub(super) most: f64,
    /// What they consist of, for people.
    pub(super) parts: String,
}

impl Resources {
    /// Prints them; `what` is the heading.
    pub(super) fn show(&self, what: &str, context: &Context) -> anyhow::Result<()> {
        context.output.result(self, |out| {
            writeln!(out, "{what}")?;
            bytes(out, "memory", &self.memory)?;
            if self.disk.bytes > 0 {
                bytes(out, "disk", &self.disk)?;
            }
            if let Some(flops) = &self.flops {
                let range = range(flops.least, flops.most, flops.expected, |f| format!("{f:.1e}"));
                writeln!(out, "  FLOPs   {:.2e}{range}", flops.expected)?;
            }
            if let Some(Time { expected, least, most, parts }) = &self.time {
                let range = range(*least, *most, *expected, seconds);
                writeln!(out, "  time    {}{range}: {parts}", seconds(*expected))?;
            }
            Ok(())
        })
    }
}

fn bytes(out: &mut dyn Write, name: &str, parts: &Parts) -> io::Result<()> {
    let of: Vec<_> =
        parts.parts.iter().filter(|(_, n)| *n > 0).map(|(what, n)| format!("{what} {}", mebibytes(*n))).collect();
    writeln!(out, "  {name:<6}  {}: {}", mebibytes(parts.bytes), of.join(", "))
}

/// ` (from … to …)` where that differs from what is expected.
fn range(least: f64, most: f64, expected: f64, text: impl Fn(f64) -> String) -> String {
    /// A range that is narrower than this says nothing.
    const WORTH_SAYING: f64 = 1.05;
    if most < least * WORTH_SAYING || expected == 0.0 {
        return String::new();
    }
    format!(" (from {} to {})", text(least), text(most))
}

/// `312 MiB` or `1.5 GiB`.
pub(super) fn mebibytes(bytes: u64) -> String {
    let mebibytes = bytes as f64 / f64::from(1 << 20);
    match mebibytes {
        m if m >= 10_240.0 => format!("{:.0} GiB", m / 1024.0),
        m if m >= 1024.0 => format!("{:.1} GiB", m / 1024.0),
        m if m >= 10.0 => format!("{m:.0} MiB"),
        m => format!("{m:.1} MiB"),
    }
}

/// `40 ms`, `3.1 s`, `75 s`, `3 min 20 s`, `2 h 30 min`.
pub(super) fn seconds(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        0 if seconds < 0.1 => format!("{:.0} ms", seconds * 1e3),
        0..10 => format!("{seconds:.1} s"),
        10..120 => format!("{whole} s"),
        120..7200 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole / 60 % 60),
    }
}

/// Memory that the process has for itself now (RssAnon), in bytes; 0 where the system does not say.
pub(super) fn own_memory() -> u64 {
    let text = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB")).and_then(|n| n.trim().parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_read_as_people_write_them() {
        assert_eq!([5 << 18, 300 << 20, 3 << 29, 20 << 30].map(mebibytes), ["1.2 MiB", "300 MiB", "1.5 GiB", "20 GiB"]);
        assert_eq!(
            [0.04, 3.12, 75.2, 200.0, 9000.0].map(seconds),
            ["40 ms", "3.1 s", "75 s", "3 min 20 s", "2 h 30 min"]
        );
        assert_eq!(range(1.0, 1.01, 1.0, seconds), "");
        assert_eq!(range(10.0, 20.0, 15.0, seconds), " (from 10 s to 20 s)");
    }

    #[test]
    fn a_process_has_memory_of_its_own() {
        assert!(own_memory() > 1 << 16);
    }
}
