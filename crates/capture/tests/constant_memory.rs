//! Does the memory of a capture stay the same when the corpus is four times as long?
#![allow(clippy::print_stdout, reason = "the measured process reports on its standard output")]

mod common;

use common::{hooks, model, run, stories, write};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use untangle_capture::CaptureConfig;
use untangle_schema::{Event, Observer};

/// Some chunks of text: with fewer the allocator is still warming up.
const STORIES: usize = 8_000;
/// By how much the peak varies between equal runs, with which encoding thread is where. It is less than one byte
/// per row that the longer corpus has more.
const SLACK_KIB: u64 = 8192;

/// Looks at its own memory at every event.
#[derive(Default)]
struct Peak(AtomicU64);

impl Observer for Peak {
    fn event(&self, _: Event<'_>) {
        let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
        let line = status.lines().find(|line| line.starts_with("RssAnon:")).expect("RssAnon is listed");
        let kib = line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number");
        self.0.fetch_max(kib, Ordering::Relaxed);
    }
}

const LENGTH: &str = "UNTANGLE_TEST_CORPUS_LENGTH";

/// Not a test by itself: the process whose memory [`memory_does_not_follow_the_length_of_the_corpus`] compares.
#[test]
fn measured_process() {
    let Some(length) = std::env::var(LENGTH).ok().and_then(|length| length.parse().ok()) else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let text = write(folder.path(), "a.txt", stories(STORIES).repeat(length));
    let peak = Peak::default();
    let config = CaptureConfig {
        context: Some(64),
        ..CaptureConfig::new(hooks(&["blocks.0.hook_resid_post"]), folder.path().join("x.h5"))
    };
    let captured = run(&config, &model(true), &[text], &peak).expect("captured");
    println!("rows {} peak {}", captured.manifest.n_rows, peak.0.load(Ordering::Relaxed));
}

/// Rows and peak in KiB of a corpus `length` times as long.
fn measure(length: usize) -> (u64, u64) {
    let output = Command::new(std::env::current_exe().expect("this binary"))
        .args(["--exact", "measured_process", "--nocapture"])
        .env(LENGTH, length.to_string())
        // One heap for all threads: which thread frees what to which heap varies from run to run.
        .env("MALLOC_ARENA_MAX", "1")
        // The model is too small for threads, which would wait for one another on a busy machine.
        .env("OMP_NUM_THREADS", "1")
        .output()
        .expect("run");
    let text = String::from_utf8(output.stdout).expect("text");
    let figure = |name: &str| text.split(name).nth(1)?.split_whitespace().next()?.parse().ok();
    (figure("rows ").unwrap_or_else(|| panic!("no figures in {text}")), figure("peak ").expect("a figure"))
}

#[test]
fn memory_does_not_follow_the_length_of_the_corpus() {
    // The shorter one is long enough for every queue to have been full.
    let (short, long) = (measure(4), measure(16));
    assert_eq!(long.0.div_ceil(4).abs_diff(short.0) / 1000, 0, "four times as many rows");
    println!("{} KiB for the short corpus, {} KiB for the long one", short.1, long.1);
    assert!(long.1 <= short.1 + SLACK_KIB, "{} KiB for the short corpus, {} KiB for the long one", short.1, long.1);
}
