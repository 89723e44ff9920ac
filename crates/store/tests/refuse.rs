//! Is every damaged or foreign file refused with a message that says what is wrong with it?

mod common;

use common::manifest;
use std::fs;
use std::path::Path;
use untangle_schema::CaptureManifest;
use untangle_schema::{Classify, Fault, StoreDtype};
use untangle_store::{ActivationSet, StoreError};

fn refused(place: &str) -> String {
    let error = ActivationSet::open(&[place]).expect_err("refused");
    assert_eq!(error.fault(), Fault::BadInput, "{error}");
    error.to_string()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("text")
}

/// Flips the byte where `needle` begins.
fn damage(path: &Path, needle: &[u8], replacement: &[u8]) {
    let mut bytes = fs::read(path).expect("read");
    let at = bytes.windows(needle.len()).position(|window| window == needle).expect("present");
    bytes[at..at + replacement.len()].copy_from_slice(replacement);
    fs::write(path, bytes).expect("written");
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let (whole, cut) = (folder.path().join("x.h5"), folder.path().join("cut.h5"));
    common::write(&whole, &manifest(3000, &[8]));
    let bytes = fs::read(&whole).expect("read");
    for size in [0, 1, 100, 2000, bytes.len() / 4, bytes.len() / 2, bytes.len() - 1] {
        fs::write(&cut, &bytes[..size]).expect("written");
        let message = refused(text(&cut));
        assert!(message.contains("cut.h5") && message.contains("cut short"), "{message}");
    }
}

#[test]
fn an_unfinished_file_is_refused_under_any_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("x.h5");
    let partial = untangle_store::Partial::claim(&path, false).expect("claimed");
    let mut writer = untangle_store::StoreWriter::open(partial, manifest(40, &[2])).expect("opened");
    common::Chunk::new(&manifest(40, &[2]), 0..40).append(&mut writer);
    writer.flush().expect("flushed");
    let renamed = folder.path().join("renamed.h5");
    fs::copy(folder.path().join("x.h5.partial"), &renamed).expect("copied");
    assert!(refused(text(&renamed)).contains("no completion mark"));
}

#[test]
fn damage_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let check = |needle: &[u8], replacement: &[u8], why: &str| {
        let path = folder.path().join("x.h5");
        common::write(&path, &manifest(300, &[8]));
        damage(&path, needle, replacement);
        let message = refused(text(&path));
        assert!(message.contains(why), "{message} lacks {why}");
        fs::remove_file(path).expect("removed");
    };
    check(b"{\"tool_version\"", b"[", "the manifest is damaged");
    check(b"\"n_rows\":300", b"\"n_rows\":301", "shape [300]");
    check(b"\"n_rows\":300", b"\"n_rows\":999", "the format has shape [999]");
    check(b"\"store_dtype\":\"f16\"", b"\"store_dtype\":\"f32\"", "float32");
    check(b"untangle-activations", b"untangle-activationz", "not an activation file");
    check(b"\x89HDF", b"\x88", "cannot be read as HDF5");
    check(b"hook_resid_post\",\"d_in\":8", b"hook_resid_mid_\"", "damaged");
}

#[test]
fn a_newer_format_is_refused_as_such() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("x.h5");
    common::write(&path, &manifest(30, &[2]));
    {
        let file = hdf5::File::open_rw(&path).expect("opened");
        file.attr("version").expect("present").write_scalar(&2u32).expect("written");
    }
    assert!(refused(text(&path)).contains("version 2; this program reads version 1"));
}

#[test]
fn files_that_are_absent_or_unknown_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    assert!(refused(text(&folder.path().join("absent.h5"))).contains("no such file"));
    assert!(refused(text(folder.path())).contains("unknown kind of file"));
    let none: [&str; 0] = [];
    assert!(matches!(ActivationSet::open(&none), Err(StoreError::NothingNamed)));
}

#[test]
fn shards_must_belong_together() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, manifest: &CaptureManifest| {
        let path = folder.path().join(name);
        common::write(&path, manifest);
        text(&path).to_owned()
    };
    let first = write("a.h5", &manifest(30, &[2]));
    let second = write("b.h5", &manifest(17, &[2]));
    let wider = write("c.h5", &manifest(30, &[3]));
    let other = write("d.h5", &CaptureManifest { store_dtype: StoreDtype::F32, ..manifest(30, &[2]) });
    let set = ActivationSet::open(&[&first, &second]).expect("opened");
    assert_eq!((set.n_rows(), set.n_documents()), (47, Some(5)));
    assert_eq!(set.name(), "a.h5 + b.h5");
    let mut block = untangle_store::RowBlock::default();
    set.read_rows(28..33, &[0], &mut block).expect("read");
    assert_eq!(block.documents, [2, 2, 3, 3, 3]);
    let expected: Vec<f32> = [28, 29, 0, 1, 2].iter().flat_map(|row| common::row(0, *row, 2)).collect();
    assert_eq!(block.columns[0], expected);
    assert_eq!(set.statistics(0).expect("captured").all.count, 47);

    let error = ActivationSet::open(&[&first, &wider]).expect_err("refused").to_string();
    assert!(error.contains("hooks.0.d_in differs"), "{error}");
    let error = ActivationSet::open(&[&first, &other]).expect_err("refused").to_string();
    assert!(error.contains("store_dtype differs"), "{error}");
    assert!(matches!(ActivationSet::open(&[&first, &first]), Err(StoreError::NamedTwice { .. })));
}
