//! A checkpoint of training, with the checksum that it is believed by, and the step that goes on from it. The first byte
//! says of which runs.
#![no_main]
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use std::sync::LazyLock;
use untangle_fuzz::{Folder, u64_at};
use untangle_train::{Run, fuzz};

/// Runs, each with a checkpoint of its own.
static SAVED: LazyLock<Vec<(Vec<Run>, Vec<u8>)>> = LazyLock::new(|| {
    let folder = Folder::new();
    let saved = |runs: Vec<Run>| {
        let bytes = fuzz::saved(&runs, folder.path());
        (runs, bytes)
    };
    fuzz::runs().into_iter().map(saved).collect()
});

fuzz_target!(|data: &[u8]| {
    let Some((which, bytes)) = data.split_first() else { return };
    let (runs, _) = &SAVED[usize::from(*which) % SAVED.len()];
    fuzz::go_on(runs, bytes);
});

// Without its checksum no checkpoint is looked at. What is no file of tensors begins again as one.
fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let which = data.first().filter(|_| size > 0).map_or(seed as usize, |which| usize::from(*which)) % SAVED.len();
    let mut bytes = data.get(1..size).unwrap_or_default().to_vec();
    if fuzz::sealed(bytes.clone()).is_none() {
        bytes.clone_from(&SAVED[which].1);
    }
    // The header and what lies behind it take turns.
    let header =
        u64_at(&bytes, 0).map_or(bytes.len(), |length| 8usize.saturating_add(length as usize).min(bytes.len()));
    let part = if seed.is_multiple_of(2) { 8.min(header)..header } else { header..bytes.len() };
    if part.is_empty() {
        return fuzzer_mutate(data, size, max_size);
    }
    let first = part.start;
    let mut changed = bytes[part].to_vec();
    let length = changed.len();
    // Of the same length, so that the offsets of all tensors stay.
    let new = fuzzer_mutate(&mut changed, length, length);
    bytes[first..first + new].copy_from_slice(&changed[..new]);
    let bytes = fuzz::sealed(bytes.clone()).unwrap_or(bytes);
    let all = [&[which as u8][..], &bytes].concat();
    let length = all.len().min(max_size);
    data[..length].copy_from_slice(&all[..length]);
    length
});
