//! Does the validator say of every damaged file all that is wrong with it, and of every good one nothing?

mod common;

use common::manifest;
use proptest::prelude::*;
use std::fs;
use std::path::{Path, PathBuf};
use untangle_schema::{CaptureManifest, ShardId};
use untangle_store::{ActivationSet, StoreError, examine};

const ROWS: u64 = 2500;
const HOOK: &str = "blocks.0.hook_resid_post";

fn violations(path: &Path, verify: bool) -> Vec<String> {
    let mut progress = |done, total| {
        assert!(done <= total, "{done} of {total} bytes");
        true
    };
    let examined = examine(path, if verify { Some(&mut progress) } else { None }).expect("examined");
    examined.expect("not stopped").violations.iter().map(ToString::to_string).collect()
}

fn written(folder: &Path, manifest: &CaptureManifest) -> PathBuf {
    let path = folder.join("x.h5");
    common::write(&path, manifest);
    path
}

/// First byte and length of a contiguous dataset.
fn place(path: &Path, name: &str) -> (usize, usize) {
    let file = hdf5::File::open(path).expect("opened");
    let dataset = file.dataset(name).expect(name);
    (dataset.offset().expect("contiguous") as usize, dataset.storage_size() as usize)
}

fn flip(path: &Path, at: usize, mask: u8) {
    let mut bytes = fs::read(path).expect("read");
    bytes[at] ^= mask;
    fs::write(path, bytes).expect("written");
}

#[test]
fn a_good_file_has_no_violation_however_it_is_stored() {
    let folder = tempfile::tempdir().expect("a folder");
    let whole = written(folder.path(), &manifest(ROWS, &[8, 3]));
    assert_eq!(violations(&whole, true), [""; 0]);
    let packed = folder.path().join("packed.h5");
    let partial = untangle_store::Partial::claim(&packed, false).expect("claimed");
    let mut writer = untangle_store::StoreWriter::open(partial, manifest(ROWS, &[8, 3])).expect("opened");
    common::Chunk::new(&manifest(ROWS, &[8, 3]), 0..ROWS).append(&mut writer);
    writer.finish_compressed(&mut |_, _| true).expect("finished");
    assert_eq!(violations(&packed, true), [""; 0]);
    assert!(examine(&whole, Some(&mut |_, _| false)).expect("examined").is_none(), "it was told to stop");

    let bytes = fs::read(&packed).expect("read");
    let file = hdf5::File::open(&packed).expect("opened");
    let chunk = file.dataset(&format!("activations/{HOOK}")).expect("there").chunk_info(0).expect("a chunk");
    drop(file);
    let at = chunk.addr as usize + chunk.size as usize / 2;
    let mut damaged = bytes.clone();
    damaged[at..at + 8].fill(0xff);
    fs::write(&packed, &damaged).expect("written");
    let found = violations(&packed, true);
    assert!(!found.is_empty() && found.iter().all(|line| line.contains(HOOK)), "{found:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Whatever bit of a dataset flips, it is found, and in the right rows.
    #[test]
    fn every_flipped_bit_is_found(which in 0usize..10, at in 0.0f64..1.0, bit in 0u8..8) {
        let names = [
            "tokens".to_owned(), "documents".to_owned(), "positions".to_owned(), "offsets".to_owned(),
            "flags".to_owned(), format!("norms/{HOOK}"), format!("activations/{HOOK}"), "manifest".to_owned(),
            format!("statistics/{HOOK}/ordinary/mean"), "checksums/flags".to_owned(),
        ];
        let folder = tempfile::tempdir().expect("a folder");
        let path = written(folder.path(), &manifest(ROWS, &[8]));
        let (first, length) = place(&path, &names[which]);
        let within = (at * length as f64) as usize;
        flip(&path, first + within, 1 << bit);
        let found = violations(&path, true);
        let row = within * ROWS as usize / length;
        let block = format!("{} to {}", row / 1024 * 1024, ((row / 1024 + 1) * 1024).min(ROWS as usize) - 1);
        match names[which].as_str() {
            "manifest" => prop_assert!(!found.is_empty()),
            "checksums/flags" => {
                let part = within / 4 * 1024;
                prop_assert!(found[0].contains(&format!("`flags` does not have its checksum in rows {part} to")), "{:?}", found);
            }
            name if name.starts_with("statistics") => {
                let line = format!("`statistics/{HOOK}` does not have its checksum in the whole of it");
                prop_assert!(found.contains(&line), "{:?}", found);
            }
            name => {
                let line = format!("`{name}` does not have its checksum in rows {block}");
                prop_assert!(found.contains(&line), "{:?} lacks {}", found, line);
            }
        }
    }
}

#[test]
fn everything_that_is_wrong_is_listed() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = written(folder.path(), &manifest(ROWS, &[8, 3]));
    {
        let file = hdf5::File::open_rw(&path).expect("opened");
        file.unlink("tokens").expect("removed");
        file.unlink("offsets").expect("removed");
        file.new_dataset::<f32>().shape(ROWS as usize).create("offsets").expect("created");
        file.unlink("checksums/flags").expect("removed");
        file.unlink("norms/blocks.1.hook_resid_post").expect("removed");
        file.new_dataset::<f32>().shape(7).create("norms/blocks.1.hook_resid_post").expect("created");
    }
    let (complete, _) = place(&path, "complete");
    flip(&path, complete, 1);
    let found = violations(&path, false);
    let expected = [
        "has no `tokens`",
        "`offsets` is float32 where the format has uint64",
        "has no `checksums/flags`",
        "`norms/blocks.1.hook_resid_post` is shape [7] where the format has shape [2500]",
        "no completion mark",
    ];
    assert_eq!(found.len(), expected.len(), "{found:?}");
    for why in expected {
        assert!(found.iter().any(|line| line.contains(why)), "{found:?} lacks {why}");
    }
    assert_eq!(violations(&path, true).len(), expected.len(), "what is there is right");
    let error = ActivationSet::open(&[path.to_str().expect("text")]).expect_err("refused");
    assert!(matches!(error, StoreError::NoSuchObject { .. }), "{error}");
}

#[test]
fn values_that_contradict_each_other_are_named_with_their_rows() {
    let folder = tempfile::tempdir().expect("a folder");
    let check = |name: &str, at: usize, bytes: &[u8], why: &[&str]| {
        let path = written(folder.path(), &manifest(ROWS, &[8]));
        let (first, _) = place(&path, name);
        let mut content = fs::read(&path).expect("read");
        content[first + at..first + at + bytes.len()].copy_from_slice(bytes);
        fs::write(&path, content).expect("written");
        let found = violations(&path, true);
        for why in why {
            assert!(found.iter().any(|line| line.contains(why)), "{found:?} lacks {why}");
        }
        fs::remove_file(path).expect("removed");
    };
    check("documents", 4 * 100, &[0; 4], &["`documents`: document 0 after document 9 in row 100"]);
    check("documents", 4 * 7, &[0xff; 4], &["`documents`: document 4294967295 of 250 in row 7"]);
    check("positions", 4 * 5, &8u32.to_le_bytes(), &["`positions`: position 8 where contexts have 5 in row 5"]);
    check("flags", 9, &[4], &["`flags`: unknown flags 0x04 in row 9"]);
    let nan = half::f16::NAN.to_le_bytes();
    check(&format!("activations/{HOOK}"), 2 * 8 * 3, &nan, &["a value that is not finite in row 3", "rows 0 to 1023"]);
    let one = 1f32.to_le_bytes();
    check(&format!("norms/{HOOK}"), 4 * 2000, &one, &["1 where the norm of the values is", "in row 2000"]);
    let count = format!("statistics/{HOOK}/all/count");
    check(&count, 0, &7u64.to_le_bytes(), &["7 rows, the file has 2500", "2500 rows, the count beside it says 7"]);
    let outlier = format!("statistics/{HOOK}/outlier_norm");
    check(
        &outlier,
        0,
        &1f64.to_le_bytes(),
        &["outlier_norm`: is not ", "`statistics/blocks.0.hook_resid_post` does not"],
    );
    let mean = format!("statistics/{HOOK}/ordinary/mean");
    check(&mean, 0, &1f64.to_le_bytes(), &["ordinary/mean`: is not what the rows give"]);
}

#[test]
fn padded_contexts_may_end_early_but_have_no_holes() {
    let folder = tempfile::tempdir().expect("a folder");
    let check = |row: usize, position: u32| {
        let path = written(folder.path(), &CaptureManifest { pad: true, ..manifest(ROWS, &[8]) });
        let (first, _) = place(&path, "positions");
        let mut content = fs::read(&path).expect("read");
        content[first + 4 * row..first + 4 * row + 4].copy_from_slice(&position.to_le_bytes());
        fs::write(&path, content).expect("written");
        let found = violations(&path, true);
        fs::remove_file(path).expect("removed");
        found.into_iter().find(|line| line.contains("position "))
    };
    assert_eq!(check(8, 0), None, "a whole context");
    assert_eq!(check(7, 0), None, "the last row of one begins another");
    let wrong = |row, position, next: u32| {
        let found = check(row, position).expect("told");
        assert!(
            found.contains(&format!("position {position} where the context's next is {next} in row {row}")),
            "{found}"
        );
    };
    wrong(5, 3, 5);
    wrong(8, 8, 8);
    wrong(0, 1, 0);
}

#[test]
fn a_manifest_that_makes_no_sense_is_told_field_by_field() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut odd = manifest(ROWS, &[8]);
    (odd.n_documents, odd.context, odd.shard) = (9999, 0, Some(ShardId { index: 4, of: 3 }));
    let found = violations(&written(folder.path(), &odd), false);
    for why in ["n_documents`: 9999 documents in 2500 rows", "context`: 0 tokens", "shard`: 4/3"] {
        assert!(found.iter().any(|line| line.contains(why)), "{found:?} lacks {why}");
    }
    assert_eq!(found.len(), 3);
}

#[test]
fn what_cannot_be_read_at_all_is_one_violation() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = written(folder.path(), &manifest(ROWS, &[8]));
    let bytes = fs::read(&path).expect("read");
    fs::write(&path, &bytes[..bytes.len() / 2]).expect("written");
    let found = violations(&path, true);
    assert!(found.len() == 1 && found[0].contains("cut short"), "{found:?}");
    fs::write(&path, [&b"\x89HDF"[..], &[0; 50]].concat()).expect("written");
    assert_eq!(violations(&path, true).len(), 1);
    let foreign = folder.path().join("foreign.h5");
    drop(hdf5::File::create(&foreign).expect("created"));
    assert!(matches!(examine(&foreign, None), Err(StoreError::NotAStore { .. })));
}
