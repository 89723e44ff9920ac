//! Texts that tests run on, and how a test says that it cannot run.

use std::io::Write;
use std::path::{Path, PathBuf};

/// Says that a test does not run here, and why. Under CI that is a failure.
pub(crate) fn skip(test: &str, why: &str) {
    assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{test} may not be skipped under CI: {why}");
    // Straight to stderr: the test harness would swallow the print macros of a test that passes.
    let _ = writeln!(std::io::stderr(), "skipped: {test}: {why}");
}

/// Writes a seeded text of about `kilobytes` thousand characters in short documents, and returns its path.
pub(crate) fn corpus_text(folder: &Path, kilobytes: usize) -> PathBuf {
    const WORDS: [&str; 24] = [
        "the", "a", "cat", "dog", "bird", "sun", "tree", "red", "blue", "small", "big", "sat", "ran", "saw", "ate",
        "on", "under", "near", "with", "and", "then", "happy", "old", "river",
    ];
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut draw = |n: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % n
    };
    let mut text = String::new();
    while text.len() < kilobytes * 1000 {
        for _ in 0..80 + draw(120) {
            text.push_str(WORDS[draw(WORDS.len())]);
            text.push_str(if draw(8) == 0 { ". " } else { " " });
        }
        text.push_str("\n<|endoftext|>\n");
    }
    let path = folder.join(format!("corpus-{kilobytes}k.txt"));
    std::fs::write(&path, text).expect("the scratch folder is writable");
    path
}
