//! Are matrices of other forms than ours read as NumPy reads them, and is what is refused named with its remedy?

mod common;

use std::path::Path;
use untangle_store::{ActivationSet, RowBlock, StoreError};

const N: usize = 2500;
const D: usize = 6;

fn value(row: usize, column: usize) -> f64 {
    (row * D + column) as f64 / 3.0
}

/// An array of doubles as `numpy.save` writes it.
fn npy(descr: &str, fortran: bool, element: impl Fn(f64) -> Vec<u8>) -> Vec<u8> {
    let order = if fortran { "True" } else { "False" };
    let header = format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': ({N}, {D}), }}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    match fortran {
        true => (0..D).for_each(|c| (0..N).for_each(|r| bytes.extend(element(value(r, c))))),
        false => (0..N).for_each(|r| (0..D).for_each(|c| bytes.extend(element(value(r, c))))),
    }
    bytes
}

/// An archive of stored files as `numpy.savez` writes it, which asks for wide numbers where they are not needed; where
/// `wide`, those of the directory are wide as well.
fn npz(files: &[(&str, Vec<u8>)], method: u8, wide: bool) -> Vec<u8> {
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    for (name, content) in files {
        let (at, size) = (bytes.len() as u64, content.len() as u64);
        let narrow = |value: u64| if wide { [0xff; 4] } else { (value as u32).to_le_bytes() };
        let mut extra = Vec::new();
        if wide {
            extra = [&[1, 0, 24, 0][..], &size.to_le_bytes(), &size.to_le_bytes(), &at.to_le_bytes()].concat();
        }
        let of_name = (name.len() as u16).to_le_bytes();
        let of_extra = (extra.len() as u16).to_le_bytes();
        let entry = [
            &b"PK\x01\x02"[..],
            &[0; 6],
            &[method, 0],
            &[0; 8],
            &narrow(size),
            &narrow(size),
            &of_name,
            &of_extra,
            &[0; 10],
            &narrow(at),
            name.as_bytes(),
            &extra,
        ];
        directory.extend(entry.concat());
        let local_extra = [&[1, 0, 16, 0][..], &size.to_le_bytes(), &size.to_le_bytes()].concat();
        let local = [
            &b"PK\x03\x04"[..],
            &[0; 4],
            &[method, 0],
            &[0; 8],
            &[0xff; 8],
            &of_name,
            &[20, 0],
            name.as_bytes(),
            &local_extra,
        ];
        bytes.extend(local.concat());
        bytes.extend(content);
    }
    let (at, count) = (bytes.len() as u64, files.len() as u64);
    bytes.extend(&directory);
    if wide {
        let end = bytes.len() as u64;
        let length = (directory.len() as u64).to_le_bytes();
        let wide = [
            &b"PK\x06\x06"[..],
            &[44, 0, 0, 0, 0, 0, 0, 0],
            &[0; 12],
            &count.to_le_bytes(),
            &count.to_le_bytes(),
            &length,
            &at.to_le_bytes(),
            b"PK\x06\x07",
            &[0; 4],
            &end.to_le_bytes(),
            &[1, 0, 0, 0],
        ];
        bytes.extend(wide.concat());
    }
    let (at, count) = if wide { (u32::MAX, u16::MAX) } else { (at as u32, count as u16) };
    bytes.extend(
        [&b"PK\x05\x06"[..], &[0; 4], &count.to_le_bytes(), &count.to_le_bytes(), &[0; 4], &at.to_le_bytes(), &[0; 2]]
            .concat(),
    );
    bytes
}

fn check(place: &str, rounded: bool) {
    let set = ActivationSet::open(&[place]).expect("opened");
    assert_eq!((set.n_rows(), set.columns()[0].d), (N as u64, D), "{place}");
    assert_eq!(!set.notes().is_empty(), rounded, "{place}: {:?}", set.notes());
    let mut block = RowBlock::default();
    for rows in [0..3, 1000..2300, N as u64 - 1..N as u64] {
        set.read_rows(rows.clone(), &[0], &mut block).expect("read");
        let right: Vec<f32> =
            rows.flat_map(|row| (0..D).map(move |column| value(row as usize, column) as f32)).collect();
        assert!(block.columns[0] == right, "{place}");
    }
    // A run that goes on knows it again.
    let observer = untangle_schema::Silent;
    let known = set.recognise(None, &observer).expect("summed up");
    assert_eq!(set.recognise(Some(&known), &observer).expect("the same"), known);
}

fn at(folder: &Path, name: &str) -> String {
    folder.join(name).display().to_string()
}

#[test]
fn doubles_other_orders_of_bytes_and_columns_are_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, bytes: Vec<u8>| std::fs::write(folder.path().join(name), bytes).expect("written");
    write("double.npy", npy("<f8", false, |x| x.to_le_bytes().to_vec()));
    write("columns.npy", npy("<f4", true, |x| (x as f32).to_le_bytes().to_vec()));
    write("big.npy", npy(">f4", false, |x| (x as f32).to_be_bytes().to_vec()));
    write("all.npy", npy(">f8", true, |x| x.to_be_bytes().to_vec()));
    for (name, rounded) in [("double.npy", true), ("columns.npy", false), ("big.npy", false), ("all.npy", true)] {
        check(&at(folder.path(), name), rounded);
    }
    let double: Vec<u8> = (0..N * D).flat_map(|at| value(at / D, at % D).to_le_bytes()).collect();
    let view = safetensors::tensor::TensorView::new(safetensors::Dtype::F64, vec![N, D], &double).expect("a matrix");
    safetensors::serialize_to_file([("acts", view)], None, &folder.path().join("x.safetensors")).expect("written");
    check(&at(folder.path(), "x.safetensors:acts"), true);
}

#[test]
fn arrays_of_archives_are_read_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = at(folder.path(), "x.npz");
    let acts = || npy("<f4", false, |x| (x as f32).to_le_bytes().to_vec());
    let columns = || npy("<f8", true, |x| x.to_le_bytes().to_vec());
    for wide in [false, true] {
        std::fs::write(&path, npz(&[("acts.npy", acts()), ("b/c.npy", columns())], 0, wide)).expect("written");
        check(&format!("{path}:acts"), false);
        check(&format!("{path}:acts.npy"), false);
        check(&format!("{path}:b/c"), true);
        let message = |place: &str| ActivationSet::open(&[place]).expect_err("refused").to_string();
        assert!(message(&path).contains("x.npz:KEY (it holds acts, b/c)"), "{}", message(&path));
        assert!(message(&format!("{path}:no")).contains("has no `no` (it holds acts, b/c)"));
        std::fs::write(&path, npz(&[("acts.npy", acts())], 0, wide)).expect("written");
        check(&path, false);
        std::fs::write(&path, npz(&[("acts.npy", acts())], 8, wide)).expect("written");
        assert!(
            message(&path).contains("`acts` is compressed")
                && message(&path).contains("numpy.save('acts.npy', numpy.load(")
        );
    }
}

#[test]
fn a_double_that_f32_does_not_hold_is_told_of() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = at(folder.path(), "x.npy");
    std::fs::write(&path, npy("<f8", false, |x| (x * 1e300).to_le_bytes().to_vec())).expect("written");
    let set = ActivationSet::open(&[&path]).expect("opened");
    let error = set.read_rows(0..3, &[0], &mut RowBlock::default()).expect_err("too large");
    assert!(matches!(error, StoreError::NotFinite { row: 0, .. }));
    assert!(error.to_string().contains("not finite, or too large for float32,"), "{error}");
}

#[test]
fn links_to_other_files_are_told_of_as_such() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, other) = (folder.path().join("x.h5"), folder.path().join("y.h5"));
    let values: Vec<f32> = (0..N * D).map(|at| at as f32).collect();
    {
        let there = hdf5::File::create(&other).expect("created");
        there.new_dataset::<f32>().shape((N, D)).create("there").expect("created").write_raw(&values).expect("written");
        let file = hdf5::File::create(&path).expect("created");
        let zeros = vec![7f32; N * D];
        file.new_dataset::<f32>().shape((N, D)).create("own").expect("created").write_raw(&zeros).expect("written");
        file.link_external("y.h5", "/there", "else").expect("linked");
        file.link_external("absent.h5", "/there", "gone").expect("linked");
        file.link_soft("/nowhere", "dangling").expect("linked");
    }
    let message = |name: &str| {
        let error = ActivationSet::open(&[format!("{}:{name}", path.display())]).expect_err("refused").to_string();
        assert!(!error.contains("damaged") && !error.contains("cut short"), "{error}");
        error
    };
    assert!(message("else").contains("is a link to another file") && message("else").contains("y.h5:/there"));
    assert!(message("/gone").contains("`/gone` is a link to another file that is not there"), "{}", message("/gone"));
    assert!(message("dangling").contains("is a link to what this file does not have"), "{}", message("dangling"));
    assert!(message("no").contains("(it holds /own)"), "{}", message("no"));
}

#[test]
fn pointers_of_git_are_told_of_as_such() {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["x.npy", "x.npz", "x.safetensors", "x.h5", "y.h5:/acts"] {
        let path = folder.path().join(name.split(':').next().expect("a name"));
        std::fs::write(path, "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n").expect("written");
        let error = ActivationSet::open(&[at(folder.path(), name)]).expect_err("refused").to_string();
        assert!(
            error.ends_with("is a pointer of Git LFS and not the file itself; get it with `git lfs pull`"),
            "{error}"
        );
    }
}
