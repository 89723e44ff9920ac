//! Memory does not grow with the corpus: ten times the tokens, the same peak.

use crate::support::{TinyModel, Untangle, corpus_text, peak_anonymous_memory, scratch};
use std::path::{Path, PathBuf};

/// What allocators and thread timing may add between two runs of the same command. A list that held one number per
/// token would add 4 MB at the longer corpus' million tokens for every four bytes of it; rows of activations 64 MB.
const SLACK: u64 = 12 << 20;

fn assert_same_peak(what: &str, peaks: [u64; 2]) {
    let [short, long] = peaks.map(|peak| peak / 1024);
    assert!(peaks[1] <= peaks[0] + SLACK, "{what}: {short} kB for a text, {long} kB for ten times the text");
}

fn peak(command: Untangle) -> u64 {
    peak_anonymous_memory(&mut command.start())
}

/// The documents of [`corpus_text`] are longer than 256 characters on purpose: without a pre-tokenizer the tokenizers
/// library takes a document for one word and caches up to 10,000 shorter ones, which is 50 MB once and no more.
#[test]
fn capture_and_features_use_the_same_memory_for_ten_times_the_tokens() {
    let folder = scratch();
    let model = TinyModel::write(folder.path());
    // Both give more rows than may wait to be written (8 MiB of activations).
    let texts = [800, 8000].map(|kilobytes| corpus_text(folder.path(), kilobytes));
    let stores = ["short.h5", "long.h5"].map(|name| folder.path().join(name));
    let capture = |text: &Path, store: &Path| {
        let command = Untangle::new("capture --context 128 --batch 32 --threads 2").arg(&model.path);
        peak(command.option("--text", text).words(&format!("--hook {}", TinyModel::HOOK)).option("--out", store))
    };
    assert_same_peak("capture", [capture(&texts[0], &stores[0]), capture(&texts[1], &stores[1])]);

    let sae = folder.path().join("sae");
    let train = Untangle::new("train --d-sae 64 --k 4 --tokens 20000 --batch 512 --threads 2").arg(&stores[0]);
    train.option("--out", &sae).succeed();
    let features = |store: &PathBuf, name: &str| {
        let command =
            Untangle::new("features --threads 2").arg(&sae).option("--store", store).option("--model", &model.path);
        peak(command.option("--out", folder.path().join(name)))
    };
    assert_same_peak("features", [features(&stores[0], "short.db"), features(&stores[1], "long.db")]);
}
