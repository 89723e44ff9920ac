//! Damaged dictionaries never make a reader panic: an error that names the file, or a dictionary.

use proptest::prelude::*;
use proptest::sample::Index;
use std::fs;
use std::path::{Path, PathBuf};
use untangle_sae::Sae;

/// A dictionary of every form, and the files in which it lies.
const DICTIONARIES: [(&str, [&str; 2]); 8] = [
    ("topk", ["cfg.json", "sae_weights.safetensors"]),
    ("jumprelu", ["cfg.json", "sae_weights.safetensors"]),
    ("gated", ["cfg.json", "sae_weights.safetensors"]),
    ("skip-transcoder", ["cfg.json", "sae_weights.safetensors"]),
    ("older-v2", ["cfg.json", "sae_weights.safetensors"]),
    ("sparsify/layers.3.mlp", ["cfg.json", "sae.safetensors"]),
    ("gemma-scope-2-1b-pt/resid_post/layer_7_width_40", ["config.json", "params.safetensors"]),
    ("gemma-scope-2b-pt-res/layer_7/width_40/compressed", ["params.npz", "params.npz"]),
];

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/parity/fixtures/sae").join(name)
}

/// Bytes in which files say what they hold; behind them are numbers of which each is as good as another.
const HEADER: usize = 1024;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn damaged_dictionaries_are_refused_or_read(
        which in 0..DICTIONARIES.len(),
        second in any::<bool>(),
        changes in prop::collection::vec((any::<Index>(), any::<u8>()), 0..5),
        cut in prop::option::weighted(0.3, any::<Index>()),
    ) {
        let (name, names) = DICTIONARIES[which];
        let folder = tempfile::tempdir().expect("a folder");
        for file in names {
            fs::copy(fixture(name).join(file), folder.path().join(file)).expect("copied");
        }
        let path = folder.path().join(names[usize::from(second)]);
        let mut bytes = fs::read(&path).expect("there");
        // The directory of a zip archive is at its end.
        let at_the_end = names[0].ends_with(".npz") && second;
        let first = if at_the_end { bytes.len().saturating_sub(HEADER) } else { 0 };
        for (at, byte) in changes {
            let within = bytes.len().min(first + HEADER) - first;
            bytes[first + at.index(within)] = byte;
        }
        bytes.truncate(cut.map_or(bytes.len(), |cut| cut.index(bytes.len())));
        fs::write(&path, bytes).expect("written");
        if let Err(error) = Sae::load(folder.path()) {
            let folder = folder.path().display().to_string();
            prop_assert!(error.to_string().contains(&folder), "{}", error);
        }
    }
}
