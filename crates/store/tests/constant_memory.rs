//! Does the memory of writing, scanning and shuffling stay the same when the file is ten times as long?
#![allow(clippy::print_stdout, reason = "the measured process reports on its standard output")]

mod common;

use common::{Chunk, manifest};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use untangle_store::{
    ActivationSet, HeldOut, Part, Partial, RowBlock, RowSource, Scan, ShuffleConfig, Shuffled, StoreWriter,
};

const D: usize = 64;
const SHORT: u64 = 120_000;
const LONG: u64 = 10 * SHORT;
/// Two windows, of which the short file fills more than two.
const WINDOWS_BYTES: usize = 8 << 20;
/// What allocators and per-block counts may add.
const SLACK_KIB: u64 = 1024;

/// Private memory of this process in KiB, the pages of the allocator included.
fn rss_anon_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).expect("RssAnon is listed");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number")
}

fn write(path: &Path, n_rows: u64) -> u64 {
    let manifest = manifest(n_rows, &[D]);
    let partial = Partial::claim(path, false).expect("claimed");
    let mut writer = StoreWriter::open(partial, manifest.clone()).expect("opened");
    let mut peak = 0;
    while writer.rows_done() < n_rows {
        let from = writer.rows_done();
        Chunk::new(&manifest, from..(from + 4096).min(n_rows)).append(&mut writer);
        peak = peak.max(rss_anon_kib());
    }
    writer.finish().expect("finished");
    peak
}

fn scan(set: &Arc<ActivationSet>) -> u64 {
    let mut scan = Scan::new(set.clone(), &HeldOut::default(), Part::Train, &[0], 4096).expect("opened");
    let (mut block, mut peak) = (RowBlock::default(), 0);
    while scan.next_block(&mut block).expect("read") {
        peak = peak.max(rss_anon_kib());
    }
    peak
}

fn shuffle(set: &Arc<ActivationSet>) -> u64 {
    let config = ShuffleConfig {
        seed: 0,
        batch_rows: 4096,
        memory_bytes: WINDOWS_BYTES,
        keep_special: false,
        keep_outliers: false,
        columns: vec![0],
    };
    let mut source = Shuffled::new(set.clone(), &HeldOut::default(), &config).expect("opened");
    assert!(!source.is_exact());
    let (mut block, mut peak) = (RowBlock::default(), 0);
    for index in 0..source.rows_per_epoch() / 4096 {
        source.read(index, &mut block).expect("read");
        peak = peak.max(rss_anon_kib());
    }
    peak
}

const ROWS: &str = "UNTANGLE_TEST_ROWS";

/// Not a test by itself: the process whose memory [`memory_does_not_follow_the_length_of_the_file`] compares.
#[test]
fn measured_process() {
    let Some(rows) = std::env::var(ROWS).ok().and_then(|rows| rows.parse().ok()) else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("x.h5");
    let written = write(&path, rows);
    let set = Arc::new(ActivationSet::open(&[path.to_str().expect("text")]).expect("opened"));
    let scanned = scan(&set);
    println!("peaks {written} {scanned} {}", shuffle(&set));
}

fn peaks(rows: u64) -> Vec<u64> {
    let output = Command::new(std::env::current_exe().expect("this binary"))
        .args(["--exact", "measured_process", "--nocapture"])
        .env(ROWS, rows.to_string())
        .output()
        .expect("run");
    let text = String::from_utf8(output.stdout).expect("text");
    let line = text.split("peaks ").nth(1).unwrap_or_else(|| panic!("no figures in {text}"));
    line.split_whitespace().take(3).map(|kib| kib.parse().expect("a number")).collect()
}

#[test]
fn memory_does_not_follow_the_length_of_the_file() {
    let (short, long) = (peaks(SHORT), peaks(LONG));
    for (what, (short, long)) in ["writing", "scanning", "shuffling"].iter().zip(short.iter().zip(&long)) {
        assert!(*long <= short + SLACK_KIB, "{what}: {short} KiB for the short file, {long} KiB for the long one");
    }
    assert!(long[2] < 20 << 10, "windows of {WINDOWS_BYTES} bytes took {} KiB", long[2]);
}
