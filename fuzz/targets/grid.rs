//! A grid of dictionaries in TOML.
#![no_main]
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use untangle_fuzz::Folder;
use untangle_train::{TrainConfig, Widths, grid};

static FOLDER: LazyLock<Folder> = LazyLock::new(Folder::new);
/// Dictionaries that are planned of a grid; a fuzzer would spend its time on thousands.
const PLANNED: usize = 16;

fuzz_target!(|data: &[u8]| {
    let path = FOLDER.file("grid.toml", data);
    let Ok(wanted) = grid::read(&path, &TrainConfig::default(), Some("x")) else { return };
    for wanted in wanted.iter().take(PLANNED) {
        let parts = if wanted.config.kind.is_crosscoder() { 2 } else { 1 };
        let predicted = wanted.config.kind.is_transcoder().then_some(8);
        let _ = wanted.config.plan_of(&Widths { read: vec![8; parts], predicted }, 100_000);
    }
});
