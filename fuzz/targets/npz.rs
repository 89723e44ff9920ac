//! A dictionary of Gemma Scope: `params.npz`.
#![no_main]
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use untangle_fuzz::Folder;
use untangle_sae::Sae;

static FOLDER: LazyLock<Folder> = LazyLock::new(Folder::new);

fuzz_target!(|data: &[u8]| {
    FOLDER.file("params.npz", data);
    let _ = Sae::load(FOLDER.path());
});
