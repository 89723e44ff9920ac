//! Damaged and invented files never make a reader panic or hang: an error that names the file, or rows.
//!
//! `damaged/` keeps cases that were found: they are read first, in every run.

mod common;

use common::manifest;
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use untangle_schema::CaptureManifest;
use untangle_store::{ActivationSet, Partial, RowBlock, StoreError, StoreWriter, examine};

/// Opens what lies at `place`, reads what can be read, and examines activation files.
fn read(path: &Path, object: &str) -> Result<(), TestCaseError> {
    let name = path.file_name().expect("a file").to_string_lossy().into_owned();
    let mut block = RowBlock::default();
    match ActivationSet::open(&[format!("{}{object}", path.display())]) {
        Ok(set) => {
            let columns: Vec<usize> = (0..set.columns().len()).collect();
            let rows = set.n_rows().saturating_sub(20)..set.n_rows();
            match set.read_rows(rows, &columns, &mut block) {
                Ok(()) => prop_assert!(block.len() <= 20),
                Err(error) => prop_assert!(error.to_string().contains(&name), "{}", error),
            }
        }
        Err(error) => prop_assert!(error.to_string().contains(&name), "{}", error),
    }
    if object.is_empty() && name.ends_with(".h5") {
        match examine(path, Some(&mut |_, _| true)) {
            Ok(examined) => prop_assert!(examined.is_some()),
            Err(error) => prop_assert!(matches!(error, StoreError::NotAStore { .. }), "{}", error),
        }
    }
    Ok(())
}

fn check(bytes: &[u8], name: &str, object: &str) -> Result<(), TestCaseError> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(name);
    fs::write(&path, bytes).expect("written");
    read(&path, object)
}

/// Changes to some bytes, and how many bytes are kept.
type Damage = (Vec<(Index, u8)>, Option<Index>);

fn damage() -> impl Strategy<Value = Damage> {
    let changes = prop::collection::vec((any::<Index>(), any::<u8>()), 0..6);
    (changes, prop::option::weighted(0.2, any::<Index>()))
}

fn damaged(mut bytes: Vec<u8>, within: std::ops::Range<usize>, (changes, keep): &Damage) -> Vec<u8> {
    for (index, byte) in changes {
        bytes[within.start + index.index(within.len())] = *byte;
    }
    if let Some(keep) = keep {
        bytes.truncate(keep.index(bytes.len()));
    }
    bytes
}

struct Sample {
    bytes: Vec<u8>,
    manifest: std::ops::Range<usize>,
}

/// A small activation file, and where its manifest lies.
fn sample() -> &'static Sample {
    static SAMPLE: OnceLock<Sample> = OnceLock::new();
    SAMPLE.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.h5");
        common::write(&path, &manifest(40, &[3, 2]));
        let file = hdf5::File::open(&path).expect("opened");
        let dataset = file.dataset("manifest").expect("there");
        let first = dataset.offset().expect("contiguous") as usize;
        Sample { manifest: first..first + dataset.storage_size() as usize, bytes: fs::read(&path).expect("read") }
    })
}

/// The sample with another manifest of the same length: shorter ones are filled up with blanks.
fn with_manifest(manifest: &Value) -> Option<Vec<u8>> {
    let Sample { bytes, manifest: place } = sample();
    let text = manifest.to_string();
    let blanks = place.len().checked_sub(text.len())?;
    let text = [text.as_bytes(), &vec![b' '; blanks]].concat();
    Some([&bytes[..place.start], &text, &bytes[place.end..]].concat())
}

/// Values that a damaged number or word may have.
fn anything() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-2i64..50).prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        prop::sample::select(vec![u64::MAX, 1 << 63, 1 << 32, u64::from(u32::MAX)]).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-z0-9._]{0,8}".prop_map(Value::from),
        Just(json!([])),
        Just(json!({"index": 0, "of": 0})),
        Just(json!([{"hook": "hook_embed", "d_in": u64::MAX}])),
    ]
}

#[test]
fn cases_that_were_found() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/damaged");
    let mut cases: Vec<PathBuf> =
        fs::read_dir(folder).expect("listed").map(|entry| entry.expect("an entry").path()).collect();
    cases.sort();
    assert!(!cases.is_empty());
    for case in cases {
        let bytes = fs::read(&case).expect("read");
        let name = case.file_name().expect("a name").to_string_lossy().into_owned();
        let outcome = match name.rsplit('.').next() {
            Some("json") => {
                let value = serde_json::from_slice(&bytes).expect("JSON");
                check(&with_manifest(&value).expect("no longer than the sample's"), "x.h5", "")
            }
            Some("safetensors") => check(&bytes, "x.safetensors", ":a"),
            Some("npy") => check(&bytes, "x.npy", ""),
            _ => panic!("{name}: unknown kind of case"),
        };
        assert!(outcome.is_ok(), "{name}: {outcome:?}");
    }
}

/// Free space of no length, or an object that ends where there is nothing, makes HDF5 2.2 read strings without end.
#[test]
fn strings_of_variable_length_end() {
    let Sample { bytes, .. } = sample();
    let strings = bytes.windows(4).position(|window| window == b"GCOL").expect("attributes that are strings");
    for place in strings..strings + 128 {
        for value in [&[0][..], &[0x14], &[0x74], &[0xff], &[0xff; 8], &[0xf0, 255, 255, 255, 255, 255, 255, 255]] {
            let mut damaged = bytes.clone();
            damaged[place..place + value.len()].copy_from_slice(value);
            let outcome = check(&damaged, "x.h5", "");
            assert!(outcome.is_ok(), "{value:?} at {place}: {outcome:?}");
        }
    }
}

/// What a kill leaves of an activation file of which some rows were written: the unfinished file and its journal.
fn left() -> &'static (Vec<u8>, Vec<u8>) {
    static LEFT: OnceLock<(Vec<u8>, Vec<u8>)> = OnceLock::new();
    LEFT.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.h5");
        let manifest = manifest(40, &[3, 2]);
        let partial = Partial::claim(&path, false).expect("free");
        let mut writer = StoreWriter::open(partial, manifest.clone()).expect("laid out");
        common::Chunk::new(&manifest, 0..24).append(&mut writer);
        writer.flush().expect("flushed");
        drop(writer);
        let read = |name: &str| fs::read(folder.path().join(name)).expect("left");
        (read("x.h5.partial"), read("x.h5.partial.journal"))
    })
}

/// A journal's header, as JSON, and its statistics.
fn taken_apart(journal: &[u8]) -> (Value, &[u8]) {
    let header = journal.iter().position(|byte| *byte == b'\n').expect("a first line") + 9;
    let length = u64::from_le_bytes(journal[header - 8..header].try_into().expect("eight bytes")) as usize;
    let value = serde_json::from_slice(&journal[header..header + length]).expect("JSON");
    (value, &journal[header + length..journal.len() - 32])
}

/// A journal with the checksum that it is believed by.
fn put_together(header: &Value, statistics: &[u8]) -> Vec<u8> {
    let header = header.to_string();
    let length = (header.len() as u64).to_le_bytes();
    let content = [b"untangle-journal 3\n", &length[..], header.as_bytes(), statistics].concat();
    let digest = Sha256::digest(&content);
    [&content[..], digest.as_slice()].concat()
}

/// Goes on from a journal; says whether its rows were believed.
fn go_on(data: &[u8], journal: &[u8], manifest: CaptureManifest) -> Result<u64, StoreError> {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("x.h5.partial"), data).expect("written");
    fs::write(folder.path().join("x.h5.partial.journal"), journal).expect("written");
    let partial = Partial::claim(&folder.path().join("x.h5"), false)?;
    Ok(StoreWriter::open(partial, manifest)?.rows_done())
}

#[test]
fn a_journal_is_gone_on_from_as_it_was_left() {
    let (data, journal) = left();
    let (header, statistics) = taken_apart(journal);
    let manifest = || serde_json::from_value(header["manifest"].clone()).expect("a manifest");
    assert_eq!(go_on(data, journal, manifest()).expect("left so"), 24);
    assert_eq!(go_on(data, &put_together(&header, statistics), manifest()).expect("as good"), 24);
    let mut more = header.clone();
    more["rows_done"] = json!(25);
    assert!(matches!(go_on(data, &put_together(&more, statistics), manifest()), Err(StoreError::Refused { .. })));
}

/// Paths of all numbers of a value.
fn numbers(value: &Value, at: &str, found: &mut Vec<String>) {
    match value {
        Value::Number(_) => found.push(at.to_owned()),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(i, item)| numbers(item, &format!("{at}/{i}"), found));
        }
        Value::Object(fields) => fields.iter().for_each(|(key, field)| numbers(field, &format!("{at}/{key}"), found)),
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever a journal says that has its checksum, it is refused or gone on from.
    #[test]
    fn journals_with_other_numbers(
        at in any::<Index>(),
        number in prop_oneof![0u64..50, any::<u64>(), prop::sample::select(vec![1 << 62, 1 << 63, u64::MAX, 1 << 32])],
        keep in prop::option::weighted(0.2, any::<Index>()),
    ) {
        let (data, journal) = left();
        let (mut header, statistics) = taken_apart(journal);
        let mut places = Vec::new();
        numbers(&header, "", &mut places);
        let place: &String = at.get(&places);
        *header.pointer_mut(place).expect("there") = json!(number);
        let statistics = &statistics[..keep.map_or(statistics.len(), |keep| keep.index(statistics.len()))];
        if let Ok(manifest) = serde_json::from_value(header["manifest"].clone()) {
            let _ = go_on(data, &put_together(&header, statistics), manifest);
        }
    }

    #[test]
    fn damaged_manifests(damage in damage()) {
        let Sample { bytes, manifest } = sample();
        check(&damaged(bytes.clone(), manifest.clone(), &damage), "x.h5", "")?;
    }

    #[test]
    fn damaged_content(damage in damage()) {
        let Sample { bytes, manifest } = sample();
        check(&damaged(bytes.clone(), manifest.end..bytes.len(), &damage), "x.h5", "")?;
    }

    #[test]
    fn manifests_with_other_values(changes in prop::collection::vec((any::<Index>(), anything()), 1..4)) {
        let Sample { bytes, manifest } = sample();
        let mut value: Value = serde_json::from_slice(&bytes[manifest.clone()]).expect("a manifest");
        let fields = value.as_object_mut().expect("an object");
        let names: Vec<String> = fields.keys().cloned().collect();
        changes.into_iter().for_each(|(index, value)| drop(fields.insert(index.get(&names).clone(), value)));
        if let Some(bytes) = with_manifest(&value) {
            check(&bytes, "x.h5", "")?;
        }
    }

    #[test]
    fn damaged_numpy_files(damage in damage()) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.npy");
        common::write_npy(&path, 6, 3, &[1.0; 18]);
        let bytes = fs::read(&path).expect("read");
        let header = bytes.len() - 72;
        check(&damaged(bytes, 0..header, &damage), "x.npy", "")?;
    }

    #[test]
    fn damaged_safetensors_headers(damage in damage()) {
        let header = json!({"a": {"dtype": "F32", "shape": [6, 3], "data_offsets": [0, 72]}}).to_string();
        let bytes = [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &[0; 72]].concat();
        check(&damaged(bytes, 0..8 + header.len(), &damage), "x.safetensors", ":a")?;
    }

    #[test]
    fn invented_safetensors_headers(
        dtype in prop::sample::select(vec!["F32", "F16", "BF16", "F64", "I8", "nonsense"]),
        shape in prop::collection::vec(prop_oneof![0u64..9, any::<u64>()], 0..4),
        (start, end) in (prop_oneof![0u64..99, any::<u64>()], prop_oneof![0u64..99, any::<u64>()]),
        data in 0usize..200,
    ) {
        let header = json!({"a": {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}}).to_string();
        let bytes = [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &vec![0; data]].concat();
        check(&bytes, "x.safetensors", ":a")?;
    }
}
