//! Are rows with an outlier's norm found, kept out of training, and found alike however a store is divided?

mod common;

use common::{Chunk, manifest};
use std::path::Path;
use std::sync::Arc;
use untangle_schema::CaptureManifest;
use untangle_schema::capture::row_flags;
use untangle_store::{
    ActivationSet, HeldOut, Part, Partial, RowBlock, RowSource, Scan, ShuffleConfig, Shuffled, StoreWriter,
};

/// Every 50th row is a sink at the first hook point, and an ordinary row at the second.
fn is_sink(row: u64) -> bool {
    row % 50 == 3
}

/// Writes rows `rows` of a longer text as a file of their own. The norms vary between 1 and 2, those of sinks are 60.
fn write(path: &Path, rows: std::ops::Range<u64>) {
    let n = rows.end - rows.start;
    let manifest = CaptureManifest { n_documents: n.div_ceil(common::DOCUMENT), ..manifest(n, &[2, 2]) };
    let mut writer =
        StoreWriter::open(Partial::claim(path, false).expect("claimed"), manifest.clone()).expect("opened");
    let mut chunk = Chunk::new(&manifest, 0..n);
    let norm = |row: u64| 1.0 + (row % 16) as f32 / 16.0;
    chunk.columns[0] = rows.clone().flat_map(|row| [if is_sink(row) { 60.0 } else { norm(row) }, 0.0]).collect();
    chunk.columns[1] = rows.clone().flat_map(|row| [0.0, norm(row)]).collect();
    chunk.append(&mut writer);
    writer.finish().expect("finished");
}

fn open(paths: &[&Path]) -> Arc<ActivationSet> {
    let places: Vec<&str> = paths.iter().map(|path| path.to_str().expect("text")).collect();
    Arc::new(ActivationSet::open(&places).expect("opened"))
}

/// The rows of one epoch, sorted.
fn served(set: &Arc<ActivationSet>, columns: &[usize], keep_outliers: bool, memory_bytes: usize) -> Vec<u64> {
    let columns = columns.to_vec();
    let config = ShuffleConfig { seed: 0, batch_rows: 1, memory_bytes, keep_special: false, keep_outliers, columns };
    let mut source = Shuffled::new(set.clone(), &HeldOut::None, &config).expect("opened");
    let (mut block, mut rows) = (RowBlock::default(), Vec::new());
    for index in 0..source.rows_per_epoch() {
        source.read(index, &mut block).expect("read");
        rows.push(block.rows[0]);
    }
    rows.sort_unstable();
    rows
}

fn ordinary(row: u64) -> bool {
    common::flags(row) == 0
}

#[test]
fn sinks_are_left_out_of_training_unless_asked_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("x.h5");
    write(&path, 0..2000);
    let set = open(&[&path]);
    let statistics = set.statistics(0).expect("captured");
    // Ordinary rows have 14 norms, of which the eighth is 1.5625, the edge of a bin whose middle is 1.578125.
    assert_eq!((statistics.ordinary.norms.median(), statistics.outlier_norm()), (1.578125, 16.0));
    let sinks = (0..2000).filter(|row| is_sink(*row) && ordinary(*row)).count() as u64;
    assert_eq!((statistics.ordinary.norms.outliers(), sinks > 20), (sinks, true));
    assert_eq!(set.statistics(1).expect("captured").ordinary.norms.outliers(), 0);
    for memory in [0, 1 << 20] {
        let without: Vec<u64> = (0..2000).filter(|row| ordinary(*row) && !is_sink(*row)).collect();
        let with: Vec<u64> = (0..2000).filter(|row| ordinary(*row)).collect();
        assert_eq!(served(&set, &[0], false, memory), without);
        assert_eq!(served(&set, &[1, 0], false, memory), without, "a pair is left out where one of the two is a sink");
        assert_eq!(served(&set, &[0], true, memory), with);
        assert_eq!(served(&set, &[1], false, memory), with, "a sink is one at a hook point");
    }
}

#[test]
fn readers_flag_sinks_at_the_columns_that_they_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("x.h5");
    write(&path, 0..400);
    let set = open(&[&path]);
    for (columns, flagged) in [(&[0][..], true), (&[1], false), (&[1, 0], true), (&[], false)] {
        let mut scan = Scan::new(set.clone(), &HeldOut::None, Part::All, columns, 150).expect("opened");
        let mut block = RowBlock::default();
        while scan.next_block(&mut block).expect("read") {
            for (row, flags) in block.rows.iter().zip(&block.flags) {
                let outlier = flagged && ordinary(*row) && is_sink(*row);
                let expected = common::flags(*row) | if outlier { row_flags::OUTLIER } else { 0 };
                assert_eq!(*flags, expected, "row {row} of columns {columns:?}");
            }
        }
    }
}

#[test]
fn several_files_have_the_threshold_of_the_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    let [whole, left, right] = ["whole.h5", "left.h5", "right.h5"].map(|name| folder.path().join(name));
    write(&whole, 0..2000);
    write(&left, 0..800);
    write(&right, 800..2000);
    let (one, both) = (open(&[&whole]), open(&[&left, &right]));
    assert_eq!(both.statistics(0).map(|s| s.ordinary.norms), one.statistics(0).map(|s| s.ordinary.norms));
    assert_eq!(served(&both, &[0], false, 1 << 20), served(&one, &[0], false, 1 << 20));
}
