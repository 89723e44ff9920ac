//! What a kill leaves of an activation file: its journal, with the checksum that it is believed by, and the unfinished
//! file, cut apart by a line `---`.
#![no_main]
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use sha2::{Digest, Sha256};
use std::fs;
use std::sync::LazyLock;
use untangle_fuzz::{Folder, two, u64_at};
use untangle_schema::CaptureManifest;
use untangle_store::{Partial, Rows, StoreWriter};

static FOLDER: LazyLock<Folder> = LazyLock::new(Folder::new);
/// Bytes of the checksum at the journal's end, and of what stands before its header.
const DIGEST: usize = 32;
const BEFORE: usize = "untangle-journal 3\n".len();

/// An input to begin with: what is left where some rows of two hook points were written.
static LEFT: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let folder = Folder::new();
    let path = folder.path().join("x.h5");
    let manifest: CaptureManifest = serde_json::from_str(MANIFEST).expect("a manifest");
    let mut writer = StoreWriter::open(Partial::claim(&path, false).expect("free"), manifest).expect("laid out");
    for document in 0..4 {
        let columns = [&[0.5, 0.25][..], &[1.0][..]];
        let (documents, positions) = ([document], [document % 2]);
        let row = Rows {
            tokens: &[1],
            documents: &documents,
            positions: &positions,
            offsets: &[0],
            flags: &[0],
            columns: &columns,
        };
        writer.append(&row).expect("appended");
    }
    writer.flush().expect("flushed");
    drop(writer);
    let read = |name: &str| fs::read(folder.path().join(name)).expect("left");
    [&read("x.h5.partial.journal")[..], b"\n---\n", &read("x.h5.partial")].concat()
});
const MANIFEST: &str = r#"{"tool_version": "0", "model": {"name": "x", "revision": null, "model_type": "gpt2", "weights_sha256": "0",
    "tokenizer_sha256": "1"}, "hooks": [{"hook": "hook_embed", "d_in": 2}, {"hook": "blocks.0.hook_resid_post", "d_in": 1}],
    "n_rows": 8, "n_documents": 8, "shard": null, "context": 2, "pad": false, "batch": 2, "bos": "auto", "bos_token": 1,
    "compute_dtype": "f32", "store_dtype": "f16", "corpus": [], "chat_template_sha256": null, "seed": 0}"#;

/// Where a journal's header lies.
fn header(journal: &[u8]) -> Option<std::ops::Range<usize>> {
    let first = BEFORE + 8;
    let end = first.checked_add(usize::try_from(u64_at(journal, BEFORE)?).ok()?)?;
    (end <= journal.len()).then_some(first..end)
}

/// The manifest that a journal was begun with: whoever goes on has the same.
fn manifest(journal: &[u8]) -> Option<CaptureManifest> {
    let value: serde_json::Value = serde_json::from_slice(&journal[header(journal)?]).ok()?;
    serde_json::from_value(value["manifest"].clone()).ok()
}

fuzz_target!(|data: &[u8]| {
    let (journal, unfinished) = two(data);
    let Some(manifest) = manifest(journal) else { return };
    FOLDER.file("x.h5.partial.journal", journal);
    FOLDER.file("x.h5.partial", unfinished);
    let Ok(partial) = Partial::claim(&FOLDER.path().join("x.h5"), false) else { return };
    let widths: Vec<usize> = manifest.hooks.iter().map(|hook| hook.d_in).collect();
    if let Ok(mut writer) = StoreWriter::open(partial, manifest) {
        let columns: Vec<Vec<f32>> = widths.into_iter().map(|width| vec![1.0; width]).collect();
        let columns: Vec<&[f32]> = columns.iter().map(Vec::as_slice).collect();
        let row =
            Rows { tokens: &[1], documents: &[0], positions: &[0], offsets: &[0], flags: &[0], columns: &columns };
        let _ = writer.append(&row).and_then(|()| writer.flush());
    }
    let _ = fs::remove_file(FOLDER.path().join("x.h5"));
});

// Without its checksum no journal is looked at; with another length of its header none is one.
fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let is_one = |data: &[u8]| header(two(data).0).is_some_and(|header| header.end + DIGEST <= two(data).0.len());
    let whole = if is_one(&data[..size]) { data[..size].to_vec() } else { LEFT.clone() };
    let (journal, unfinished) = two(&whole);
    let header = header(journal).expect("it is one");
    let (mut json, mut statistics) =
        (journal[header.clone()].to_vec(), journal[header.end..journal.len() - DIGEST].to_vec());
    let mut unfinished = unfinished.to_vec();
    let part = match seed % 8 {
        0 => &mut statistics,
        1 => &mut unfinished,
        _ => &mut json,
    };
    let length = part.len();
    part.resize(length + 16, 0);
    let new = fuzzer_mutate(part, length, length + 16);
    part.truncate(new);
    let length = (json.len() as u64).to_le_bytes();
    let content = [&journal[..BEFORE], &length, &json, &statistics].concat();
    let all = [&content[..], Sha256::digest(&content).as_slice(), b"\n---\n", &unfinished].concat();
    let length = all.len().min(max_size);
    data[..length].copy_from_slice(&all[..length]);
    length
});
