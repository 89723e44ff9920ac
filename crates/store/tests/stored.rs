//! Is a dataset refused by name whose elements lie elsewhere or nowhere, or that claims sizes that no memory holds?

mod common;

use common::manifest;
use hdf5::File;
use std::path::Path;
use std::time::Instant;
use untangle_schema::{Classify, Fault};
use untangle_store::ActivationSet;

const N: usize = 40;
const D: usize = 4;

fn refused(place: &str) -> String {
    let error = ActivationSet::open(&[place]).expect_err("refused");
    assert_eq!(error.fault(), Fault::BadInput, "{error}");
    error.to_string()
}

/// What is said of `acts` in a file that `make` fills.
fn told(make: impl Fn(&File)) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("x.h5");
    let file = File::create(&path).expect("created");
    make(&file);
    file.close().expect("closed");
    let begun = Instant::now();
    let message = refused(&format!("{}:/acts", path.display()));
    assert!(begun.elapsed().as_secs() < 5, "by arithmetic, not by reading: {message}");
    assert!(message.contains("x.h5: `/acts` ") || message.contains("x.h5: `acts` "), "{message}");
    message
}

fn chunked(shape: (usize, usize), chunk: (usize, usize), written: usize) -> impl Fn(&File) {
    move |file| {
        let dataset = file.new_dataset::<f32>().shape(shape).chunk(chunk).create("acts").expect("made");
        if written > 0 {
            dataset
                .write_slice(ndarray::Array2::<f32>::ones((written, shape.1)).view(), (0..written, ..))
                .expect("written");
        }
    }
}

#[test]
fn what_lies_in_other_files_is_refused_whether_they_are_there_or_not() {
    for source in ["nowhere.h5", "."] {
        let message = told(|file| {
            file.new_dataset::<f32>().shape((N, D)).create("a").expect("made");
            let virtually = file.new_dataset::<f32>().shape((N, D));
            virtually.virtual_map(source, "a", (N, D), .., (N, D), ..).create("acts").expect("made");
        });
        assert!(message.contains("is virtual") && message.contains("copy its data into one file"), "{message}");
    }
    let message = told(|file| {
        let external = file.new_dataset::<f32>().shape((N, D)).external("raw.bin", 0, N * D * 4);
        external.create("acts").expect("made");
    });
    assert!(message.contains("external files") && message.contains("copy its data into one file"), "{message}");
}

#[test]
fn what_was_never_written_is_not_read_as_zeros() {
    let message = told(chunked((1_000_000_000_000, 16), (4096, 16), 0));
    assert!(message.contains("in 244140625 chunks, of which 0 were ever written"), "{message}");
    let message = told(chunked((N, D), (8, D), 16));
    assert!(message.contains("in 5 chunks, of which 2 were ever written; write them"), "{message}");
    let message = told(|file| {
        file.new_dataset::<f32>().shape((1_000_000_000_000usize, 16)).create("acts").map(drop).expect("made");
    });
    assert!(message.contains("nothing of it was ever written"), "{message}");
}

#[test]
fn sizes_that_no_memory_holds_are_refused_before_anything_is_read() {
    let message = told(chunked((10, 1 << 31), (1, 1 << 20), 0));
    assert!(message.contains("has 2147483648 columns, of which at most 1048576 are taken; reshape"), "{message}");
    let message = told(chunked((1 << 24, 16), (1 << 24, 16), 1));
    assert!(message.contains("in chunks of 1024 MiB") && message.contains("h5repack -l"), "{message}");
}

#[test]
fn whole_datasets_of_every_layout_are_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("x.h5");
    let file = File::create(&path).expect("created");
    let rows = ndarray::Array2::<f32>::ones((N, D));
    file.new_dataset_builder().with_data(&rows).create("contiguous").expect("made");
    file.new_dataset_builder().with_data(&rows).chunk((16, 3)).deflate(1).create("chunked").expect("made");
    file.new_dataset_builder().with_data(&rows).layout(hdf5::dataset::Layout::Compact).create("compact").expect("made");
    file.close().expect("closed");
    for name in ["contiguous", "chunked", "compact"] {
        let set = ActivationSet::open(&[&format!("{}:/{name}", path.display())]).expect(name);
        assert_eq!((set.n_rows(), set.columns()[0].d), (N as u64, D), "{name}");
    }
}

#[test]
fn datasets_of_a_store_may_not_lie_elsewhere_either() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("x.h5");
    for name in ["tokens", "manifest", "complete"] {
        common::write(&path, &manifest(N as u64, &[D]));
        replace_by_virtual(&path, name);
        let message = refused(path.to_str().expect("text"));
        assert!(message.contains(&format!("x.h5: `{name}` is virtual")), "{message}");
        std::fs::remove_file(&path).expect("removed");
    }
}

fn replace_by_virtual(path: &Path, name: &str) {
    let file = File::open_rw(path).expect("opened");
    file.unlink(name).expect("there");
    let virtually = file.new_dataset::<u32>().shape(N);
    virtually.virtual_map("nowhere.h5", "a", N, .., N, ..).create(name).expect("made");
    file.close().expect("closed");
}
