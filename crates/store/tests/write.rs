//! Is what was written what is read, and is a file the same however often its writing was interrupted?

mod common;

use common::{Chunk, manifest};
use proptest::prelude::*;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use untangle_schema::{CaptureManifest, StoreDtype};
use untangle_store::{ActivationSet, Partial, RowBlock, StoreError, StoreWriter};

fn open(path: &Path, manifest: &CaptureManifest) -> StoreWriter {
    StoreWriter::open(Partial::claim(path, false).expect("claimed"), manifest.clone()).expect("opened")
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

fn names(folder: &Path) -> Vec<String> {
    let name = |entry: std::io::Result<fs::DirEntry>| entry.expect("listed").file_name().into_string().expect("text");
    let mut names: Vec<String> = fs::read_dir(folder).expect("listed").map(name).collect();
    names.sort();
    names
}

/// Writes from where the file stands up to row `to`, `step` rows at a time, flushing as `flush_every` rows say.
fn advance(writer: &mut StoreWriter, to: u64, step: u64, flush_every: u64) {
    while writer.rows_done() < to {
        let from = writer.rows_done();
        Chunk::new(&writer.manifest().clone(), from..(from + step).min(to)).append(writer);
        if writer.rows_unflushed() >= flush_every {
            writer.flush().expect("flushed");
        }
    }
}

#[test]
fn every_stored_type_survives_a_round_trip() {
    for dtype in [StoreDtype::F32, StoreDtype::F16, StoreDtype::Bf16] {
        let folder = folder();
        let path = folder.path().join("x.h5");
        let manifest = CaptureManifest { store_dtype: dtype, ..manifest(50, &[4, 3]) };
        common::write(&path, &manifest);
        assert_eq!(names(folder.path()), ["x.h5"]);
        let set = ActivationSet::open(&[path.to_str().expect("text")]).expect("opened");
        assert_eq!(set.manifest(), Some(&manifest));
        assert_eq!(
            set.columns().iter().map(|c| (c.hook, c.d)).collect::<Vec<_>>(),
            [(Some(manifest.hooks[0].hook), 4), (Some(manifest.hooks[1].hook), 3)]
        );
        let mut block = RowBlock::default();
        set.read_rows(7..31, &[1, 0], &mut block).expect("read");
        let expected = Chunk::new(&manifest, 7..31);
        assert_eq!(block.columns, [expected.columns[1].clone(), expected.columns[0].clone()]);
        assert_eq!(block.rows, (7..31).collect::<Vec<u64>>());
        assert_eq!((&block.tokens, &block.documents), (&expected.tokens, &expected.documents));
        assert_eq!((&block.positions, &block.flags), (&expected.positions, &expected.flags));
        assert_eq!(block.offsets, expected.offsets);
    }
}

#[test]
fn statistics_describe_the_rows() {
    let folder = folder();
    let path = folder.path().join("x.h5");
    common::write(&path, &manifest(20, &[2]));
    let set = ActivationSet::open(&[path.to_str().expect("text")]).expect("opened");
    let statistics = set.statistics(0).expect("a captured file");
    let mean = |rows: &[u64], f: fn(&[f32]) -> f64| {
        rows.iter().map(|row| f(&common::row(0, *row, 2))).sum::<f64>() / rows.len() as f64
    };
    let all: Vec<u64> = (0..20).collect();
    let ordinary: Vec<u64> = all.iter().copied().filter(|row| row % common::CONTEXT != 0).collect();
    for (rows, found) in [(&all, &statistics.all), (&ordinary, &statistics.ordinary)] {
        let norm = |x: &[f32]| (f64::from(x[0]).powi(2) + f64::from(x[1]).powi(2)).sqrt();
        let close = |a: f64, b: f64| (a - b).abs() < 1e-12;
        assert_eq!(found.count, rows.len() as u64);
        assert!(close(found.mean[1], mean(rows, |x| f64::from(x[1]))));
        assert!(close(found.second_moment[0], mean(rows, |x| f64::from(x[0]).powi(2))));
        assert!(close(found.norm_mean, mean(rows, norm)));
        assert!(close(found.norm_second_moment, found.second_moment.iter().sum()));
        assert_eq!(found.norm_max, rows.iter().map(|r| norm(&common::row(0, *r, 2))).fold(0.0, f64::max));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// A dropped writer is a killed one: nothing is saved on drop.
    #[test]
    fn interrupted_writing_gives_the_same_bytes(
        cuts in prop::collection::vec((1u64..90, 1u64..12, 1u64..40), 0..6), step in 1u64..20,
    ) {
        let folder = folder();
        let (whole, cut) = (folder.path().join("whole.h5"), folder.path().join("cut.h5"));
        let manifest = manifest(90, &[3, 5]);
        common::write(&whole, &manifest);
        for (rows, step, flush_every) in cuts {
            let mut writer = open(&cut, &manifest);
            let to = rows.max(writer.rows_done());
            advance(&mut writer, to, step, flush_every);
        }
        let mut writer = open(&cut, &manifest);
        advance(&mut writer, 90, step, 30);
        prop_assert_eq!(writer.finish().expect("finished"), cut.clone());
        prop_assert!(fs::read(&whole).expect("read") == fs::read(&cut).expect("read"));
        prop_assert_eq!(names(folder.path()), ["cut.h5", "whole.h5"]);
    }
}

const CHILD_OUTPUT: &str = "UNTANGLE_TEST_CHILD_OUTPUT";
const CHILD_ROWS: u64 = 4000;

/// Not a test by itself: the process that [`killed_writers_are_continued_by_the_next`] kills.
#[test]
fn child_writer() {
    let Some(path) = std::env::var_os(CHILD_OUTPUT).map(PathBuf::from) else { return };
    let mut writer = open(&path, &manifest(CHILD_ROWS, &[16, 8]));
    advance(&mut writer, CHILD_ROWS, 10, 50);
    writer.finish().expect("finished");
}

fn spawn_child(output: &Path) -> std::process::Child {
    Command::new(std::env::current_exe().expect("this binary"))
        .args(["--exact", "child_writer"])
        .env(CHILD_OUTPUT, output)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("started")
}

#[test]
fn killed_writers_are_continued_by_the_next() {
    let folder = folder();
    let (whole, killed) = (folder.path().join("whole.h5"), folder.path().join("killed.h5"));
    common::write(&whole, &manifest(CHILD_ROWS, &[16, 8]));
    let mut kills = 0;
    for attempt in 0u64.. {
        let mut child = spawn_child(&killed);
        std::thread::sleep(Duration::from_millis(3 + attempt * 7 % 40));
        child.kill().expect("a child");
        let ended = child.wait().expect("a child");
        if ended.success() || killed.exists() {
            break;
        }
        kills += 1;
        if attempt > 30 {
            assert!(spawn_child(&killed).wait().expect("a child").success());
        }
    }
    assert!(kills > 0, "the child was never interrupted");
    assert!(fs::read(&whole).expect("read") == fs::read(&killed).expect("read"), "after {kills} kills");
}

#[test]
fn a_second_process_is_told_that_the_file_is_being_written() {
    let folder = folder();
    let path = folder.path().join("x.h5");
    let _writer = open(&path, &manifest(20, &[2]));
    assert!(!spawn_child(&path).wait().expect("a child").success());
    let error = Partial::claim(&path, true).expect_err("held");
    assert_eq!(
        error.to_string(),
        format!("{} is being written by another process; wait until it ends, or stop it", path.display())
    );
}

#[test]
fn other_settings_are_refused_by_name_and_forced_afresh() {
    let folder = folder();
    let path = folder.path().join("x.h5");
    advance(&mut open(&path, &manifest(20, &[2])), 10, 5, 5);
    let other = CaptureManifest { context: 64, ..manifest(20, &[2]) };
    let claim = |force| Partial::claim(&path, force).expect("claimed");
    let error = StoreWriter::open(claim(false), other.clone()).expect_err("refused");
    assert!(error.to_string().contains("context: 8 there, 64 asked for"), "{error}");
    assert_eq!(StoreWriter::open(claim(true), manifest(20, &[2])).expect("continued").rows_done(), 10);
    assert_eq!(StoreWriter::open(claim(true), other).expect("afresh").rows_done(), 0);
}

#[test]
fn a_finished_file_is_kept_unless_forced() {
    let folder = folder();
    let path = folder.path().join("x.h5");
    common::write(&path, &manifest(20, &[2]));
    let before = fs::read(&path).expect("read");
    assert!(matches!(Partial::claim(&path, false), Err(StoreError::Exists { .. })));
    let mut writer =
        StoreWriter::open(Partial::claim(&path, true).expect("forced"), manifest(30, &[2])).expect("opened");
    advance(&mut writer, 30, 30, 30);
    assert!(before == fs::read(&path).expect("read"), "replaced before the new one was finished");
    writer.finish().expect("finished");
    assert_eq!(ActivationSet::open(&[path.to_str().expect("text")]).expect("opened").n_rows(), 30);
}

#[test]
fn values_that_cannot_be_stored_are_refused_and_nothing_is_lost() {
    let folder = folder();
    let path = folder.path().join("x.h5");
    let mut writer = open(&path, &manifest(20, &[2]));
    advance(&mut writer, 6, 3, 3);
    let mut refused = |value: f32| {
        let mut chunk = Chunk::new(&writer.manifest().clone(), 6..10);
        chunk.columns[0][5] = value;
        writer.append(&chunk.rows(&[&chunk.columns[0]])).expect_err("refused").to_string()
    };
    let text = refused(65520.0);
    assert!(
        text.contains("65520 at `blocks.0.hook_resid_post`, row 8, does not fit f16; store with --store f32"),
        "{text}"
    );
    for value in [f32::NAN, f32::NEG_INFINITY] {
        let text = refused(value);
        assert!(text.contains("not finite at `blocks.0.hook_resid_post`, row 8"), "{text}");
    }
    assert_eq!(writer.rows_done(), 6);
    advance(&mut writer, 20, 4, 4);
    writer.finish().expect("finished");
    let whole = folder.path().join("whole.h5");
    common::write(&whole, &manifest(20, &[2]));
    assert!(fs::read(&path).expect("read") == fs::read(&whole).expect("read"));
}

#[test]
fn too_few_and_too_many_rows_are_refused() {
    let folder = folder();
    let path = folder.path().join("x.h5");
    let mut writer = open(&path, &manifest(20, &[2]));
    let chunk = Chunk::new(writer.manifest(), 0..21);
    assert!(matches!(writer.append(&chunk.rows(&[&chunk.columns[0]])), Err(StoreError::BadRows { .. })));
    assert!(matches!(writer.finish(), Err(StoreError::Unfinished { done: 0, total: 20, .. })));
    assert!(!path.exists());
    let claim = Partial::claim(&path, false).expect("claimed");
    assert!(matches!(StoreWriter::open(claim, manifest(0, &[2])), Err(StoreError::Empty { .. })));
}

#[test]
fn a_file_that_no_disk_can_hold_is_refused_at_the_start() {
    let folder = folder();
    let claim = Partial::claim(&folder.path().join("x.h5"), false).expect("claimed");
    let error = StoreWriter::open(claim, manifest(1 << 44, &[4096])).expect_err("refused");
    assert!(matches!(error, StoreError::DiskFull { .. }), "{error}");
    assert_eq!(names(folder.path()), Vec::<String>::new());
}

/// The rows of a file, with everything that is known about them.
fn content(path: &Path) -> RowBlock {
    let set = ActivationSet::open(&[path.to_str().expect("text")]).expect("opened");
    let mut block = RowBlock::default();
    let columns: Vec<usize> = (0..set.columns().len()).collect();
    set.read_rows(0..set.n_rows(), &columns, &mut block).expect("read");
    block
}

#[test]
fn a_compressed_file_holds_the_same_and_is_the_same_after_an_interruption() {
    for dtype in [StoreDtype::F32, StoreDtype::F16, StoreDtype::Bf16] {
        let folder = folder();
        let [plain, packed, again] = ["plain.h5", "packed.h5", "again.h5"].map(|name| folder.path().join(name));
        let manifest = CaptureManifest { store_dtype: dtype, ..manifest(70_000, &[8, 3]) };
        common::write(&plain, &manifest);
        let mut steps = 0;
        let mut writer = open(&packed, &manifest);
        advance(&mut writer, 70_000, 10_000, 20_000);
        let finished = writer.finish_compressed(&mut |done, total| {
            steps += 1;
            assert!(done <= total && total == 140_000);
            true
        });
        assert_eq!(finished.expect("finished"), Some(packed.clone()));
        let file = hdf5::File::open(&packed).expect("opened");
        let chunk = file.dataset("activations/blocks.0.hook_resid_post").expect("there").chunk();
        assert_eq!(chunk, Some(vec![(1 << 20) / (8 * dtype.size()), 8]), "a mebibyte of whole rows");
        drop(file);
        assert!(steps >= 4, "progress is told at every chunk, here {steps} times");

        for stop in 0..3 {
            let mut writer = open(&again, &manifest);
            advance(&mut writer, 70_000, 9_999, 30_000);
            let mut left = stop;
            let given_up = writer.finish_compressed(&mut |_, _| {
                left -= 1;
                left >= 0
            });
            assert_eq!(given_up.expect("given up"), None);
            assert!(!again.exists());
        }
        // As if it had been killed in the middle.
        fs::write(folder.path().join("again.h5.partial.packed"), "half").expect("written");
        let writer = open(&again, &manifest);
        assert_eq!(writer.rows_done(), 70_000);
        writer.finish_compressed(&mut |_, _| true).expect("finished");
        assert!(fs::read(&packed).expect("read") == fs::read(&again).expect("read"));
        assert_eq!(names(folder.path()), ["again.h5", "packed.h5", "plain.h5"]);
        assert_eq!(content(&packed), content(&plain));
        let sizes = [&packed, &plain].map(|path| fs::metadata(path).expect("there").len());
        assert!(sizes[0] < sizes[1], "{sizes:?}");
    }
}

#[test]
fn offsets_norms_and_checksums_are_those_of_the_rows() {
    let folder = folder();
    let path = folder.path().join("x.h5");
    let manifest = manifest(2500, &[4]);
    common::write(&path, &manifest);
    let file = hdf5::File::open(&path).expect("opened");
    let read = |name: &str| file.dataset(name).expect(name);
    let offsets = read("offsets").read_raw::<u64>().expect("numbers");
    assert_eq!(offsets, Chunk::new(&manifest, 0..2500).offsets);
    let hook = "blocks.0.hook_resid_post";
    let norms = read(&format!("norms/{hook}")).read_raw::<f32>().expect("numbers");
    let squares = |row| common::row(0, row, 4).iter().map(|x| f64::from(*x).powi(2)).sum::<f64>();
    assert!((0..2500).all(|row| norms[row as usize] == squares(row).sqrt() as f32));

    // CRC-32 bit by bit, as its definition has it.
    let crc = |bytes: &[u8]| {
        let step = |crc: u32, _| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
        !bytes.iter().fold(!0u32, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
    };
    let checksums = |name: &str| read(&format!("checksums/{name}")).read_raw::<u32>().expect("numbers");
    let bytes: Vec<u8> = offsets.iter().flat_map(|offset| offset.to_le_bytes()).collect();
    assert_eq!(checksums("offsets"), bytes.chunks(8 * 1024).map(crc).collect::<Vec<_>>());
    let rows: Vec<half::f16> = read(&format!("activations/{hook}")).read_raw().expect("numbers");
    let bytes: Vec<u8> = rows.iter().flat_map(|x| x.to_le_bytes()).collect();
    assert_eq!(checksums(&format!("activations/{hook}")), bytes.chunks(2 * 4 * 1024).map(crc).collect::<Vec<_>>());
    assert_eq!(
        file.group("checksums").expect("a group").attr("rows").expect("there").read_scalar::<u32>().ok(),
        Some(1024)
    );
}
