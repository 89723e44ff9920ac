//! Are the rows of two stores paired by document, position and token, and read side by side?

mod common;

use common::{CONTEXT, Chunk, DOCUMENT, manifest, write_npy};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use untangle_schema::{Classify, Fault};
use untangle_store::{
    ActivationSet, HeldOut, Part, Partial, RowBlock, RowSource, Scan, ShuffleConfig, Shuffled, StoreError, StoreWriter,
};

const N: u64 = 400;

/// Row `row` of the text as a model with this number gives it.
fn value(model: usize, row: u64) -> f32 {
    (row as f32 + 1.0) * if model == 0 { 1.0 } else { -0.5 }
}

/// Writes the rows of the text that `keep` says, the tokens of those that `other_token` says being others.
fn write(path: &Path, model: usize, keep: impl Fn(u64) -> bool, other_token: impl Fn(u64) -> bool) {
    let kept: Vec<u64> = (0..N).filter(|row| keep(*row)).collect();
    let mut manifest = manifest(kept.len() as u64, &[2]);
    (manifest.n_documents, manifest.store_dtype) = (N.div_ceil(DOCUMENT), untangle_schema::StoreDtype::F32);
    manifest.model.name = format!("model {model}");
    let mut writer =
        StoreWriter::open(Partial::claim(path, false).expect("claimed"), manifest.clone()).expect("opened");
    let chunk = Chunk {
        tokens: kept.iter().map(|row| (row % 50) as u32 + 100 * u32::from(other_token(*row))).collect(),
        documents: kept.iter().map(|row| (row / DOCUMENT) as u32).collect(),
        positions: kept.iter().map(|row| (row % CONTEXT) as u32).collect(),
        offsets: vec![0; kept.len()],
        flags: vec![0; kept.len()],
        columns: vec![kept.iter().flat_map(|row| [value(model, *row), 1.0]).collect()],
    };
    chunk.append(&mut writer);
    writer.finish().expect("finished");
}

fn open(path: &Path) -> ActivationSet {
    ActivationSet::open(&[path.to_str().expect("text")]).expect("opened")
}

fn beside(own: &Path, other: &Path) -> Result<Arc<ActivationSet>, StoreError> {
    open(own).with_beside(vec![open(other)]).map(Arc::new)
}

/// Rows without a pair in these tests: whole documents, single rows, and rows whose token is another one.
fn lacks(row: u64) -> bool {
    (30..50).contains(&row) || row % 97 == 5
}

fn is_other(row: u64) -> bool {
    row % 41 == 7
}

struct Pair {
    _folder: tempfile::TempDir,
    set: Arc<ActivationSet>,
    /// Rows of the text that both have, with the same token.
    common: Vec<u64>,
}

fn pair() -> Pair {
    let folder = tempfile::tempdir().expect("a folder");
    let [own, other] = ["a.h5", "b.h5"].map(|name| folder.path().join(name));
    write(&own, 0, |row| row >= 3, |_| false);
    write(&other, 1, |row| !lacks(row), is_other);
    let set = beside(&own, &other).expect("paired");
    Pair { _folder: folder, set, common: (3..N).filter(|row| !lacks(*row) && !is_other(*row)).collect() }
}

/// The text's row of a value of the first model.
fn row_of(value: f32) -> u64 {
    value as u64 - 1
}

#[test]
fn only_pairs_are_served_and_both_are_the_same_token() {
    let Pair { set, common, .. } = pair();
    let of_other = (0..N).filter(|row| !lacks(*row)).count() as u64;
    assert_eq!(set.unpaired(), [[N - 3 - common.len() as u64, of_other - common.len() as u64]]);
    assert_eq!(set.columns_named("blocks.0.hook_resid_post"), [0, 1]);
    assert_eq!(set.model_of(1).expect("captured").name, "model 1");
    for memory_bytes in [1 << 20, 1 << 10] {
        let config = ShuffleConfig {
            seed: 1,
            batch_rows: 7,
            memory_bytes,
            keep_special: true,
            keep_outliers: true,
            columns: vec![0, 1],
        };
        let mut source = Shuffled::new(set.clone(), &HeldOut::None, &config).expect("opened");
        assert_eq!(source.rows_per_epoch(), common.len() as u64);
        let (mut block, mut seen) = (RowBlock::default(), Vec::new());
        for index in 0..common.len() as u64 {
            source.read(index, &mut block).expect("read");
            for (a, b) in block.columns[0].chunks_exact(2).zip(block.columns[1].chunks_exact(2)) {
                assert_eq!(b[0], value(1, row_of(a[0])), "row {}", row_of(a[0]));
                seen.push(row_of(a[0]));
            }
        }
        // Seven epochs: every pair seven times.
        seen.sort_unstable();
        assert!(seen.chunks(7).zip(&common).all(|(seen, row)| seen == [*row; 7]), "{memory_bytes}");
    }
}

#[test]
fn scans_pass_over_rows_without_a_pair() {
    let Pair { set, common, .. } = pair();
    let rows = |part| {
        let mut scan = Scan::new(set.clone(), &HeldOut::default(), part, &[1, 0], 16).expect("possible");
        let (mut block, mut rows) = (RowBlock::default(), Vec::new());
        while scan.next_block(&mut block).expect("read") {
            for (b, a) in block.columns[0].chunks_exact(2).zip(block.columns[1].chunks_exact(2)) {
                assert_eq!(b[0], value(1, row_of(a[0])));
                rows.push(row_of(a[0]));
            }
        }
        rows
    };
    assert_eq!(rows(Part::All), common);
    let mut both = [rows(Part::Train), rows(Part::HeldOut)].concat();
    both.sort_unstable();
    assert_eq!(both, common);
}

#[test]
fn the_same_position_and_token_again_in_a_document_goes_with_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    let [own, other] = ["a.h5", "b.h5"].map(|name| folder.path().join(name));
    // All rows of a document have the same token, and its positions begin again after 8 rows.
    let write_all = |path: &Path, model: usize, first: usize| {
        let mut manifest = manifest(10 - first as u64, &[2]);
        (manifest.n_documents, manifest.store_dtype) = (1, untangle_schema::StoreDtype::F32);
        let mut writer =
            StoreWriter::open(Partial::claim(path, false).expect("claimed"), manifest.clone()).expect("opened");
        let mut chunk = Chunk::new(&manifest, 0..10 - first as u64);
        chunk.tokens.fill(4);
        chunk.positions = [0, 1, 2, 3, 4, 5, 6, 7, 0, 1][first..].to_vec();
        chunk.columns = vec![(first as u64..10).flat_map(|row| [value(model, row), 1.0]).collect()];
        chunk.append(&mut writer);
        writer.finish().expect("finished");
    };
    write_all(&own, 0, 0);
    write_all(&other, 1, 2);
    let set = beside(&own, &other).expect("paired");
    // The first rows at 0 and 1 go with the only ones that the other has, the second ones with none.
    assert_eq!(set.unpaired(), [[2, 0]]);
    let mut block = RowBlock::default();
    set.read_rows(0..8, &[1], &mut block).expect("read");
    let expected: Vec<f32> = [8, 9, 2, 3, 4, 5, 6, 7].iter().map(|row| value(1, *row)).collect();
    assert_eq!(block.columns[0].iter().step_by(2).copied().collect::<Vec<f32>>(), expected);
}

#[test]
fn what_cannot_be_paired_is_refused_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| -> PathBuf { folder.path().join(name) };
    write(&path("a.h5"), 0, |_| true, |_| false);
    let refused = |other: &str, expected: &str| {
        let error = beside(&path("a.h5"), &path(other)).expect_err(other);
        assert_eq!(error.fault(), Fault::BadInput);
        let message = error.to_string();
        assert!(message.contains("a.h5") && message.contains(other) && message.contains(expected), "{message}");
    };
    write(&path("none.h5"), 1, |_| true, |_| true);
    refused("none.h5", "no row has the document, position and token");
    // Every 25th row has the same token by chance.
    common::write(&path("text.h5"), &manifest(N, &[2]));
    refused("text.h5", "captured from different texts");
    write_npy(&path("x.npy"), 4, 2, &[1.0; 8]);
    refused("x.npy", "only one of them says which token");
    write_npy(&path("y.npy"), 5, 2, &[1.0; 10]);
    let error = beside(&path("x.npy"), &path("y.npy")).expect_err("4 is not 5").to_string();
    assert!(error.contains("they have 4 and 5 rows"), "{error}");
    write_npy(&path("z.npy"), 4, 2, &[3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0, 6.0]);
    let set = beside(&path("x.npy"), &path("z.npy")).expect("as many rows");
    let mut block = RowBlock::default();
    set.read_rows(1..3, &[1], &mut block).expect("read");
    assert_eq!(block.columns[0], [4.0, 1.0, 5.0, 9.0]);
}
