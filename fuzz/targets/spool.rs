//! What a killed capture leaves of its token ids: a state, with the checksum that it is believed by, and the ids, cut apart
//! by a line `---`. The first byte says whether contexts are padded.
#![no_main]
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use std::sync::LazyLock;
use untangle_capture::fuzz::{self, Kept};
use untangle_fuzz::{Folder, two};
use untangle_model::LanguageModel;

struct Bench {
    folder: Folder,
    model: LanguageModel,
    /// Inputs to begin with.
    kept: Vec<Vec<u8>>,
}

fn bytes(pad: bool, kept: &Kept) -> Vec<u8> {
    [&[u8::from(pad)][..], &kept.state, b"\n---\n", &kept.tokens].concat()
}

// The fuzzer is one thread, and a model is for one.
thread_local!(static BENCH: LazyLock<Bench> = const { LazyLock::new(|| {
    let model = fuzz::model();
    let of = |pad: bool| {
        let folder = Folder::new();
        fuzz::kept(&model, folder.path(), pad).into_iter().map(|kept| bytes(pad, &kept)).collect::<Vec<_>>()
    };
    let kept = [of(false), of(true)].concat();
    Bench { folder: Folder::new(), model, kept }
}) });

fn parts(data: &[u8]) -> Option<(bool, Kept)> {
    let (pad, rest) = data.split_first()?;
    let (state, tokens) = two(rest);
    Some((pad % 2 == 1, Kept { state: state.to_vec(), tokens: tokens.to_vec() }))
}

fuzz_target!(init: untangle_fuzz::catch_as_the_readers_do(), |data: &[u8]| {
    let Some((pad, kept)) = parts(data) else { return };
    BENCH.with(|bench| drop(fuzz::go_on(&bench.model, bench.folder.path(), pad, &kept)));
});

// Without its checksum no state is looked at.
fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let begin = |bench: &LazyLock<Bench>| bench.kept[seed as usize % bench.kept.len()].clone();
    let whole = if size < 40 { BENCH.with(begin) } else { data[..size].to_vec() };
    let (pad, Kept { mut state, mut tokens }) = parts(&whole).expect("not empty");
    let part = if seed.is_multiple_of(8) { &mut tokens } else { &mut state };
    let length = part.len();
    part.resize(length + 16, 0);
    let new = fuzzer_mutate(part, length, length + 16);
    part.truncate(new);
    let all = bytes(pad, &fuzz::sealed(&Kept { state, tokens }));
    let length = all.len().min(max_size);
    data[..length].copy_from_slice(&all[..length]);
    length
});
