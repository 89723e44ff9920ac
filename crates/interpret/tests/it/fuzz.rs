//! Damaged databases of features never make reading panic or hang: an error that names the file, or features.

use crate::database::write;
use proptest::prelude::*;
use proptest::sample::Index;
use std::fs;
use std::sync::LazyLock;
use untangle_interpret::Database;

static WRITTEN: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("features.db");
    write(&path);
    fs::read(path).expect("written")
});

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn damaged_databases_are_refused_or_read(
        changes in prop::collection::vec((any::<Index>(), any::<u8>()), 0..20),
        cut in prop::option::weighted(0.2, any::<Index>()),
    ) {
        let mut bytes = WRITTEN.clone();
        changes.into_iter().for_each(|(at, byte)| *at.get_mut(&mut bytes) = byte);
        bytes.truncate(cut.map_or(bytes.len(), |cut| cut.index(bytes.len())));
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("features.db");
        fs::write(&path, bytes).expect("written");
        match Database::open(&path) {
            Ok(database) => {
                let _ = (database.run(), database.n_features(), database.card(0), database.list(5));
                let _ = (database.search("bridge", 5), database.most_interpretable(5), database.by_label("bridge"));
            }
            Err(error) => prop_assert!(error.to_string().contains("features.db"), "{}", error),
        }
    }
}
