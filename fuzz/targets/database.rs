//! A database of features.
#![no_main]
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use untangle_fuzz::Folder;
use untangle_interpret::Database;

static FOLDER: LazyLock<Folder> = LazyLock::new(Folder::new);

fuzz_target!(|data: &[u8]| {
    let Ok(database) = Database::open(&FOLDER.file("features.db", data)) else { return };
    let _ = (database.run(), database.n_features(), database.card(0), database.list(5));
    let _ = (database.search("bridge", 5), database.most_interpretable(5), database.by_label("bridge"));
});
