//! A matrix of somebody else in a `.h5` file.
#![no_main]
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use untangle_fuzz::Folder;
use untangle_store::{ActivationSet, RowBlock};

static FOLDER: LazyLock<Folder> = LazyLock::new(Folder::new);

fuzz_target!(|data: &[u8]| {
    let path = FOLDER.file("x.h5", data);
    for object in ["", ":/x", ":/activations/x"] {
        let Ok(set) = ActivationSet::open(&[format!("{}{object}", path.display())]) else { continue };
        let mut block = RowBlock::default();
        let _ = set.read_rows(set.n_rows().saturating_sub(20)..set.n_rows(), &[0], &mut block);
    }
});
