//! A capture that is killed at any of twenty moments and started again ends with the bytes of one that never was.

use crate::support::{TinyModel, Untangle, corpus_text, entries, kill_after, scratch, timed};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

/// Moments of killing.
const KILLS: u32 = 20;
/// Seed of the moments: the same fractions of an undisturbed run's length in every run of the test.
const SEED: u64 = 20;

/// The capture whose every stage is hit: tokenizing, forward passes, and compressing.
fn capture(options: &str, model: &TinyModel, text: &Path, out: &Path) -> Untangle {
    Untangle::new("capture --context 64 --batch 4 --threads 1 --shard 1/2 --compress")
        .words(options)
        .arg(&model.path)
        .option("--text", text)
        .words(&format!("--hook {} --hook blocks.0.attn.hook_pattern", TinyModel::HOOK))
        .option("--out", out)
}

#[test]
fn twenty_kills_each_followed_by_the_same_command() {
    assert_kills_do_no_harm("", KILLS);
}

#[test]
fn kills_of_a_padded_capture_each_followed_by_the_same_command() {
    assert_kills_do_no_harm("--pad", KILLS / 2);
}

/// Kills a capture with these further options so many times, each time from the begin.
fn assert_kills_do_no_harm(options: &str, kills: u32) {
    let folder = scratch();
    let model = TinyModel::write(folder.path());
    let text = corpus_text(folder.path(), 500);
    let whole = folder.path().join("whole.h5");
    let (_, length) = timed(|| capture(options, &model, &text, &whole).succeed());
    let expected = fs::read(&whole).expect("captured");
    let (mut state, mut met, mut log) = (SEED, 0, Vec::new());
    for kill in 1..=kills {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let fraction = (state >> 33) as f64 / f64::from(1_u32 << 31);
        let delay = Duration::from_secs_f64(length.as_secs_f64() * fraction);
        let out = folder.path().join(format!("killed-{kill}.h5"));
        let running = kill_after(capture(options, &model, &text, &out).start(), delay);
        let left: Vec<String> = entries(folder.path()).into_iter().filter(|name| name.contains("partial")).collect();
        met += u32::from(running);
        if running {
            assert!(!out.exists() || fs::read(&out).expect("read") == expected, "a half under the final name");
        }
        if !out.exists() {
            capture(options, &model, &text, &out).succeed();
        }
        let same = fs::read(&out).expect("captured") == expected;
        let state = if running { "running" } else { "finished" };
        log.push(format!(
            "kill {kill:2} after {:.2} s of {:.2} ({state}; left {left:?}): same bytes {same}",
            delay.as_secs_f64(),
            length.as_secs_f64()
        ));
        assert!(same, "{}", log.join("\n"));
        fs::remove_file(&out).expect("there");
        let names = entries(folder.path());
        let beside: Vec<_> = names.iter().filter(|name| name.contains("partial") && !name.ends_with(".lock")).collect();
        assert!(beside.is_empty(), "{beside:?} is left");
    }
    // Straight to stderr: the test harness would swallow the log of a test that passes.
    let _ = writeln!(std::io::stderr(), "{}", log.join("\n"));
    assert!(met >= kills / 2, "only {met} kills met a running capture");
}
