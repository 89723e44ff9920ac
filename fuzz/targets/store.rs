//! An activation file, examined as `inspect` does.
#![no_main]
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use untangle_fuzz::Folder;
use untangle_store::examine;

static FOLDER: LazyLock<Folder> = LazyLock::new(Folder::new);

fuzz_target!(|data: &[u8]| {
    let _ = examine(&FOLDER.file("x.h5", data), Some(&mut |_, _| true));
});
