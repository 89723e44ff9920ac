//! Laws of shuffling: every row once per epoch, any order of asking, whatever the memory.

use super::*;
use crate::testing::{self, CONTEXT, DOCUMENT};
use proptest::prelude::*;
use std::collections::BTreeSet;
use tempfile::TempDir;

const WIDTHS: [usize; 2] = [3, 2];

fn store(n_rows: u64) -> (TempDir, Arc<ActivationSet>) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("x.h5");
    testing::write(&path, &testing::manifest(n_rows, &WIDTHS));
    let set = ActivationSet::open(&[path.to_str().expect("text")]).expect("opened");
    (folder, Arc::new(set))
}

fn config(batch_rows: usize, memory_bytes: usize) -> ShuffleConfig {
    ShuffleConfig { seed: 5, batch_rows, memory_bytes, keep_special: false, keep_outliers: false, columns: vec![1, 0] }
}

/// Blocks of 8 rows: the narrower of both columns takes 4 bytes per row.
const SMALL_BLOCK: usize = 32;

fn check_content(block: &RowBlock) {
    for (at, row) in block.rows.iter().enumerate() {
        for (out, hook) in block.columns.iter().zip([1, 0]) {
            let d = WIDTHS[hook];
            assert_eq!(out[at * d..(at + 1) * d], testing::row(hook, *row, d));
        }
        assert_eq!(u64::from(block.documents[at]), row / DOCUMENT);
        assert_eq!(u64::from(block.positions[at]), row % CONTEXT);
        assert_eq!(u64::from(block.tokens[at]), row * 3 % 50);
        assert_eq!(block.flags[at], 0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn each_epoch_serves_every_eligible_row_once(
        n_rows in 40u64..400, batch in 1usize..20, memory in 0usize..40_000, held in 0u64..20,
    ) {
        let (_folder, set) = store(n_rows);
        let eligible: Vec<u64> = (0..n_rows - held).filter(|row| testing::flags(*row) == 0).collect();
        let held_out = HeldOut::LastRows(held);
        let source = Shuffled::with_block_bytes(set, &held_out, &config(batch, memory), SMALL_BLOCK);
        let mut source = source.expect("opened");
        prop_assert_eq!(source.rows_per_epoch(), eligible.len() as u64);
        let mut block = RowBlock::default();
        let mut served = Vec::new();
        for index in 0.. {
            if served.len() >= 2 * eligible.len() {
                break;
            }
            source.read(index, &mut block).expect("read");
            prop_assert_eq!(block.len(), batch);
            check_content(&block);
            served.extend_from_slice(&block.rows);
        }
        for epoch in served.chunks_exact(eligible.len()) {
            let mut rows = epoch.to_vec();
            rows.sort_unstable();
            prop_assert_eq!(&rows, &eligible);
        }
        prop_assert!(served[..eligible.len()] != served[eligible.len()..2 * eligible.len()]);
    }

    #[test]
    fn any_order_of_asking_gives_the_same_batches(
        asked in prop::collection::vec(0u64..60, 1..12), memory in 0usize..6000,
    ) {
        let (_folder, set) = store(200);
        let open = || Shuffled::with_block_bytes(set.clone(), &HeldOut::default(), &config(7, memory), SMALL_BLOCK);
        let (mut in_order, mut jumping) = (open().expect("opened"), open().expect("opened"));
        let mut batches = Vec::new();
        for index in 0..60 {
            let mut block = RowBlock::default();
            in_order.read(index, &mut block).expect("read");
            batches.push(block);
        }
        let mut block = RowBlock::default();
        for index in asked {
            jumping.read(index, &mut block).expect("read");
            prop_assert_eq!(&block, &batches[index as usize]);
        }
    }
}

#[test]
fn rows_of_a_window_come_from_all_over_the_file() {
    let (_folder, set) = store(400);
    let two_windows = 30 * 400;
    let mut source =
        Shuffled::with_block_bytes(set, &HeldOut::None, &config(20, two_windows), SMALL_BLOCK).expect("opened");
    assert!(!source.is_exact());
    let mut block = RowBlock::default();
    source.read(0, &mut block).expect("read");
    let quarters: BTreeSet<u64> = block.rows.iter().map(|row| row / 100).collect();
    assert_eq!(quarters.len(), 4, "{:?}", block.rows);
}

#[test]
fn a_store_that_fits_is_permuted_exactly_as_in_memory() {
    let (_folder, set) = store(60);
    let all = ShuffleConfig { keep_special: true, ..config(7, 1 << 20) };
    let mut from_file = Shuffled::new(set, &HeldOut::None, &all).expect("opened");
    assert!(from_file.is_exact());
    let rows = (0..60).flat_map(|row| testing::row(1, row, 2)).collect();
    let mut from_memory = crate::MemoryRows::new(rows, 2, 7, 5).expect("enough rows");
    let (mut file, mut memory) = (RowBlock::default(), RowBlock::default());
    for index in [0, 1, 2, 9, 8, 30] {
        from_file.read(index, &mut file).expect("read");
        from_memory.read(index, &mut memory).expect("read");
        assert_eq!((&file.rows, &file.columns[0]), (&memory.rows, &memory.columns[0]));
    }
}

#[test]
fn too_few_rows_and_empty_batches_are_refused() {
    let (_folder, set) = store(40);
    let error = Shuffled::new(set.clone(), &HeldOut::None, &config(36, 1 << 20)).expect_err("refused");
    assert!(matches!(error, StoreError::TooFewRows { rows: 35, total: 40, batch: 36, .. }), "{error}");
    let error = Shuffled::new(set, &HeldOut::None, &config(0, 1 << 20)).expect_err("refused");
    assert!(matches!(error, StoreError::EmptyBatch));
}

#[test]
fn a_value_that_is_not_finite_is_reported_with_its_row() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("x.npy");
    let mut values = vec![1.0f32; 100 * 4];
    values[37 * 4 + 2] = f32::INFINITY;
    testing::write_npy(&path, 100, 4, &values);
    let set = Arc::new(ActivationSet::open(&[path.to_str().expect("text")]).expect("opened"));
    for memory in [0, 1 << 20] {
        let config = ShuffleConfig {
            seed: 0,
            batch_rows: 10,
            memory_bytes: memory,
            keep_special: false,
            keep_outliers: false,
            columns: vec![0],
        };
        let mut source = Shuffled::with_block_bytes(set.clone(), &HeldOut::None, &config, 64).expect("opened");
        let mut block = RowBlock::default();
        let errors: Vec<StoreError> = (0..10).filter_map(|index| source.read(index, &mut block).err()).collect();
        assert!(
            matches!(errors.as_slice(), [StoreError::NotFinite { row: 37, column, .. }] if column == "x"),
            "{errors:?}"
        );
    }
}
