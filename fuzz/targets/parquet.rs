//! Documents in a parquet table, of texts and of conversations.
#![no_main]
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use untangle_fuzz::{Folder, read_as_every_corpus};

static FOLDER: LazyLock<Folder> = LazyLock::new(Folder::new);

fuzz_target!(init: untangle_fuzz::catch_as_the_readers_do(), |data: &[u8]| {
    read_as_every_corpus(&FOLDER.file("x.parquet", data));
});
