//! A dictionary's directory: `cfg.json` and `sae_weights.safetensors`, cut apart by a line `---`.
#![no_main]
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use untangle_fuzz::{Folder, two};
use untangle_sae::{Crosscoder, Sae};

static FOLDER: LazyLock<Folder> = LazyLock::new(Folder::new);

fuzz_target!(|data: &[u8]| {
    let (config, weights) = two(data);
    FOLDER.file("cfg.json", config);
    FOLDER.file("sae_weights.safetensors", weights);
    let _ = Sae::load(FOLDER.path());
    let _ = Crosscoder::load(FOLDER.path());
});
