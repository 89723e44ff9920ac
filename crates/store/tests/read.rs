//! Are matrices from elsewhere, sequential passes and parts of a store read as they should be?

mod common;

use common::manifest;
use proptest::prelude::*;
use std::path::Path;
use std::sync::Arc;
use untangle_schema::{Classify, Fault, StoreDtype};
use untangle_store::{ActivationSet, HeldOut, Part, RowBlock, RowSource, Scan, ShuffleConfig, Shuffled, StoreError};

const N: usize = 700;
const D: usize = 5;

fn values() -> Vec<f32> {
    (0..N as u64).flat_map(|row| common::row(0, row, D)).collect()
}

fn place(path: &Path, object: &str) -> String {
    format!("{}{object}", path.display())
}

fn check_matrix(place: &str, name: &str, dtype: StoreDtype) {
    let set = ActivationSet::open(&[place]).expect("opened");
    assert_eq!((set.n_rows(), set.columns().len()), (N as u64, 1), "{place}");
    let column = &set.columns()[0];
    assert_eq!((column.name.as_str(), column.d, column.dtype), (name, D, dtype));
    assert!(set.manifest().is_none() && set.statistics(0).is_none());
    let mut block = RowBlock::default();
    for rows in [0..N, 123..456, N - 1..N, 5..5] {
        set.read_rows(rows.start as u64..rows.end as u64, &[0], &mut block).expect("read");
        assert_eq!(block.columns[0], values()[rows.start * D..rows.end * D], "{place} {rows:?}");
        assert_eq!((block.tokens.len(), block.flags.len()), (rows.len(), rows.len()));
    }
}

#[test]
fn numpy_and_safetensors_matrices_are_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let npy = folder.path().join("acts.npy");
    common::write_npy(&npy, N, D, &values());
    check_matrix(&place(&npy, ""), "acts", StoreDtype::F32);

    let path = folder.path().join("x.safetensors");
    let half: Vec<u8> = values().iter().flat_map(|x| half::bf16::from_f32(*x).to_le_bytes()).collect();
    let view = |dtype, bytes| safetensors::tensor::TensorView::new(dtype, vec![N, D], bytes).expect("a matrix");
    let full: Vec<u8> = values().iter().flat_map(|x| x.to_le_bytes()).collect();
    let tensors = [
        ("blocks.3.hook_mlp_out", view(safetensors::Dtype::BF16, &half)),
        ("full:precision", view(safetensors::Dtype::F32, &full)),
    ];
    safetensors::serialize_to_file(tensors, None, &path).expect("written");
    check_matrix(&place(&path, ":blocks.3.hook_mlp_out"), "blocks.3.hook_mlp_out", StoreDtype::Bf16);
    check_matrix(&place(&path, ":full:precision"), "full:precision", StoreDtype::F32);
    let set = ActivationSet::open(&[place(&path, ":blocks.3.hook_mlp_out")]).expect("opened");
    assert_eq!(set.columns()[0].hook, "blocks.3.hook_mlp_out".parse().ok());
}

fn write_datasets(path: &Path) {
    let file = hdf5::File::create(path).expect("created");
    let half: Vec<half::f16> = values().into_iter().map(half::f16::from_f32).collect();
    let builder = |group: &hdf5::Group| group.new_dataset_builder();
    let group = file.create_group("layer").expect("created");
    let full = builder(&group).empty::<f32>().shape((N, D)).create("plain").expect("created");
    full.write_raw(&values()).expect("written");
    let chunked = builder(&file).chunk((64, 2)).empty::<half::f16>().shape((N, D)).create("chunked").expect("created");
    chunked.write_raw(&half).expect("written");
    let packed = builder(&file).chunk((100, D)).shuffle().deflate(4).empty::<f32>().shape((N, D)).create("packed");
    packed.expect("created").write_raw(&values()).expect("written");
    let double: Vec<f64> = values().into_iter().map(f64::from).collect();
    let create = |builder: hdf5::DatasetBuilder| builder.empty::<f64>().shape((N, D));
    create(builder(&file)).create("double").expect("created").write_raw(&double).expect("written");
    let packed = create(builder(&file).chunk((100, D)).deflate(4)).create("packed double").expect("created");
    packed.write_raw(&double).expect("written");
    builder(&file).empty::<i32>().shape((N, D)).create("whole").expect("created");
    builder(&file).empty::<f32>().shape((N,)).create("flat").expect("created");
}

fn write_links(path: &Path) {
    let file = hdf5::File::create(path).expect("created");
    let raw: Vec<u16> = values().into_iter().map(|x| half::bf16::from_f32(x).to_bits()).collect();
    let dataset = file.new_dataset::<u16>().shape((N, D)).create("raw").expect("created");
    dataset.write_raw(&raw).expect("written");
    let attribute = dataset.new_attr::<hdf5::types::VarLenUnicode>().create("dtype").expect("created");
    attribute.write_scalar(&"bf16".parse::<hdf5::types::VarLenUnicode>().expect("no NUL")).expect("written");
    for name in ["a", "b", "c"] {
        file.create_group(name).expect("created").link_hard("/", "up").expect("linked");
    }
    file.link_soft("/nowhere", "dangling").expect("linked");
}

#[test]
fn links_that_lead_nowhere_or_in_circles_are_no_hindrance() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("x.h5");
    write_links(&path);
    check_matrix(&place(&path, ":raw"), "raw", StoreDtype::Bf16);
    let listed = ActivationSet::open(&[place(&path, ":absent")]).expect_err("there is none").to_string();
    assert_eq!(listed.matches("/raw").count(), 1, "{listed}");
}

#[test]
fn hdf5_datasets_are_read_contiguous_chunked_and_compressed() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("x.h5");
    write_datasets(&path);
    check_matrix(&place(&path, ":/layer/plain"), "plain", StoreDtype::F32);
    check_matrix(&place(&path, ":chunked"), "chunked", StoreDtype::F16);
    check_matrix(&place(&path, ":/packed"), "packed", StoreDtype::F32);
    for name in ["double", "packed double"] {
        check_matrix(&place(&path, &format!(":/{name}")), name, StoreDtype::F32);
        let notes = ActivationSet::open(&[place(&path, &format!(":/{name}"))]).expect("opened").notes();
        assert!(notes.len() == 1 && notes[0].ends_with("x.h5: its float64 is rounded to float32"), "{notes:?}");
    }
    for (object, why) in [
        (":/whole", "holds int32; in Python: numpy.save('whole.npy', h5py.File("),
        (":/flat", "shape [700]"),
        (":/absent", "no `/absent` (it holds /chunked, /double, /flat, /packed, /packed double, /whole, /layer/plain)"),
        ("", "name one of its datasets"),
    ] {
        let error = ActivationSet::open(&[place(&path, object)]).expect_err("refused").to_string();
        assert!(error.contains(why), "{error} lacks {why}");
    }
}

#[test]
fn a_dataset_of_our_own_format_is_a_matrix_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("x.h5");
    common::write(
        &path,
        &untangle_schema::CaptureManifest { store_dtype: StoreDtype::Bf16, ..manifest(N as u64, &[D]) },
    );
    let name = "blocks.0.hook_resid_post";
    check_matrix(&place(&path, &format!(":/activations/{name}")), name, StoreDtype::Bf16);
}

#[test]
fn shuffling_a_chunked_dataset_serves_every_row() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("x.h5");
    let file = hdf5::File::create(&path).expect("created");
    let packed = file.new_dataset_builder().chunk((64, D)).deflate(1).empty::<f32>().shape((N, D)).create("a");
    packed.expect("created").write_raw(&values()).expect("written");
    file.close().expect("closed");
    let set = Arc::new(ActivationSet::open(&[place(&path, ":/a")]).expect("opened"));
    let config = ShuffleConfig {
        seed: 0,
        batch_rows: N / 2,
        memory_bytes: 0,
        keep_special: false,
        keep_outliers: false,
        columns: vec![0],
    };
    let mut source = Shuffled::new(set, &HeldOut::None, &config).expect("opened");
    let (mut block, mut rows) = (RowBlock::default(), Vec::new());
    for index in 0..2 {
        source.read(index, &mut block).expect("read");
        for (row, x) in block.rows.iter().zip(block.columns[0].chunks(D)) {
            assert_eq!(x, common::row(0, *row, D));
        }
        rows.extend_from_slice(&block.rows);
    }
    rows.sort_unstable();
    assert_eq!(rows, (0..N as u64).collect::<Vec<_>>());
}

fn scanned(set: &Arc<ActivationSet>, held_out: &HeldOut, part: Part, block_rows: usize) -> Vec<u64> {
    let mut scan = Scan::new(set.clone(), held_out, part, &[0], block_rows).expect("opened");
    let (mut block, mut rows) = (RowBlock::default(), Vec::new());
    let mut short = false;
    while scan.next_block(&mut block).expect("read") {
        assert!(!short && block.len() <= block_rows, "only the last block may be short");
        short = block.len() < block_rows;
        for (row, x) in block.rows.iter().zip(block.columns[0].chunks(2)) {
            assert_eq!(x, common::row(0, *row, 2));
        }
        let flags: Vec<u8> = block.rows.iter().map(|row| common::flags(*row)).collect();
        assert_eq!(block.flags, flags);
        rows.extend_from_slice(&block.rows);
    }
    rows
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn the_parts_of_a_store_are_disjoint_and_complete(
        n_rows in 30u64..3000, block_rows in 1usize..500, seed: u64, last in 1u64..29, by_rows: bool,
    ) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.h5");
        common::write(&path, &manifest(n_rows, &[2]));
        let set = Arc::new(ActivationSet::open(&[place(&path, "")]).expect("opened"));
        let held_out = if by_rows { HeldOut::LastRows(last) } else { HeldOut::Fraction { fraction: 0.2, seed } };
        let train = scanned(&set, &held_out, Part::Train, block_rows);
        let held = scanned(&set, &held_out, Part::HeldOut, block_rows);
        prop_assert!(!train.is_empty() && !held.is_empty());
        let mut both = [train.clone(), held.clone()].concat();
        both.sort_unstable();
        prop_assert_eq!(both, (0..n_rows).collect::<Vec<_>>());
        prop_assert_eq!(scanned(&set, &held_out, Part::All, block_rows), (0..n_rows).collect::<Vec<_>>());
        prop_assert_eq!(scanned(&set, &held_out, Part::HeldOut, block_rows + 1), held.clone());

        let config = ShuffleConfig { seed, batch_rows: 1, memory_bytes: 1 << 20, keep_special: true, keep_outliers: true, columns: vec![0] };
        let mut source = Shuffled::new(set, &held_out, &config).expect("opened");
        let (mut block, mut served) = (RowBlock::default(), Vec::new());
        for index in 0..source.rows_per_epoch() {
            source.read(index, &mut block).expect("read");
            served.push(block.rows[0]);
        }
        served.sort_unstable();
        prop_assert_eq!(served, train);
    }
}

#[test]
fn tokens_are_read_without_activations_and_bad_rows_are_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("x.h5");
    common::write(&path, &manifest(50, &[2]));
    let set = ActivationSet::open(&[place(&path, "")]).expect("opened");
    let mut block = RowBlock::default();
    set.read_rows(10..13, &[], &mut block).expect("read");
    assert_eq!((block.tokens.as_slice(), block.columns.len()), (&[30, 33, 36][..], 0));
    let error = set.column("blocks.9.hook_resid_post").expect_err("absent");
    assert_eq!(error.fault(), Fault::BadInput);
    let error = error.to_string();
    assert!(error.contains("no column `blocks.9.hook_resid_post` (it holds blocks.0.hook_resid_post)"), "{error}");

    let npy = folder.path().join("x.npy");
    let mut rows = values();
    rows[200 * D] = f32::NAN;
    common::write_npy(&npy, N, D, &rows);
    let set = Arc::new(ActivationSet::open(&[place(&npy, "")]).expect("opened"));
    let mut scan = Scan::new(set, &HeldOut::None, Part::All, &[0], 150).expect("opened");
    assert!(scan.next_block(&mut block).expect("the first rows are fine"));
    assert!(matches!(scan.next_block(&mut block), Err(StoreError::NotFinite { row: 200, .. })));
}

#[test]
fn a_value_that_is_not_finite_is_named_by_its_row_in_its_own_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let (first, second) = (folder.path().join("a.npy"), folder.path().join("b.npy"));
    common::write_npy(&first, N, D, &values());
    let mut rows = values();
    rows[7 * D] = f32::NAN;
    common::write_npy(&second, N, D, &rows);
    let set = ActivationSet::open(&[place(&first, ""), place(&second, "")]).expect("opened");
    let error = set.read_rows(0..2 * N as u64, &[0], &mut RowBlock::default()).expect_err("refused");
    assert!(matches!(&error, StoreError::NotFinite { path, row: 7, .. } if *path == second), "{error}");
}

#[test]
fn the_identity_of_a_store_follows_its_content() {
    let folder = tempfile::tempdir().expect("a folder");
    let identity = |name: &str, rows: u64| {
        let path = folder.path().join(name);
        common::write(&path, &manifest(rows, &[2]));
        ActivationSet::open(&[place(&path, "")]).expect("opened").content_identity()
    };
    let first = identity("a.h5", 30);
    assert_eq!(first.len(), 64);
    assert_eq!(first, identity("renamed.h5", 30));
    assert_ne!(first, identity("longer.h5", 31));
}
