//! Sparse codes on disk, written while they come in: a safetensors file whose sizes are known only at the end.
//!
//! | tensor | shape | holds |
//! |---|---|---|
//! | `rows` | i64 `[n]` | number of every row in the store |
//! | `starts` | i64 `[n + 1]` | where every row's entries begin in the two tensors below |
//! | `features` | i64 `[nnz]` | active features, ascending within a row |
//! | `activations` | f32 `[nnz]` | their activations, greater than zero |
//!
//! The header's `__metadata__` says what the codes are of: texts, as the format has it, which readers of the tensors pass over.

use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use untangle_sae::Codes;
use untangle_store::durable::create;
use untangle_store::{Artefact, Partial, StoreError};

/// Tensors in the order of the file: name, type, bytes per element.
const TENSORS: [(&str, &str, u64); 4] =
    [("rows", "I64", 8), ("starts", "I64", 8), ("features", "I64", 8), ("activations", "F32", 4)];

/// What the format calls what is no tensor.
const METADATA: &str = "__metadata__";

/// A file of codes, as an output.
pub(crate) const CODES: Artefact = Artefact { name: "a file of codes", is_folder: false, is_at: is_codes };

/// Longest header that is looked at; ours has some hundred bytes.
const LONGEST_HEADER: u64 = 1 << 16;

/// Whether a file has these tensors, no others, and ends with them.
fn is_codes(path: &Path) -> io::Result<bool> {
    Ok(header_of(path)?.is_some_and(|header| header.should == header.size))
}

/// What a file of codes says of itself.
pub(crate) struct Told {
    pub(crate) rows: u64,
    /// Active features of all rows.
    pub(crate) active: u64,
    /// What the codes are of.
    pub(crate) about: Map<String, Value>,
    /// Bytes that the file has, and that it would have if it ended with its tensors.
    pub(crate) size: u64,
    pub(crate) should: u64,
}

/// A header with our tensors and no others, and what size the file has and should have.
struct Header {
    tensors: Map<String, Value>,
    size: u64,
    should: u64,
}

/// What a file of codes says of itself, whole or cut; none of any other file.
pub(crate) fn told(path: &Path) -> io::Result<Option<Told>> {
    let Some(Header { tensors: header, size, should }) = header_of(path)? else { return Ok(None) };
    let n = |tensor: &str| header[tensor]["shape"][0].as_u64().unwrap_or(0);
    let about = header.get(METADATA).and_then(Value::as_object).cloned().unwrap_or_default();
    Ok(Some(Told { rows: n("rows"), active: n("features"), about, size, should }))
}

/// The header of a file that has these tensors and no others.
fn header_of(path: &Path) -> io::Result<Option<Header>> {
    let mut file = File::open(path)?;
    let (mut length, mut text) = ([0; 8], Vec::new());
    let size = file.metadata()?.len();
    if size < 8 {
        return Ok(None);
    }
    file.read_exact(&mut length)?;
    let length = u64::from_le_bytes(length);
    if length > LONGEST_HEADER {
        return Ok(None);
    }
    file.take(length).read_to_end(&mut text)?;
    let Ok(found) = serde_json::from_slice::<Map<String, Value>>(&text) else { return Ok(None) };
    let ends = TENSORS.map(|(name, ..)| found.get(name).and_then(|tensor| tensor["data_offsets"][1].as_u64()));
    let end = ends.into_iter().flatten().max().unwrap_or(0);
    let tensors = found.keys().filter(|name| *name != METADATA).count();
    let is_codes = tensors == TENSORS.len() && ends.iter().all(Option::is_some);
    Ok(is_codes.then(|| Header { tensors: found, size, should: end.saturating_add(8 + length) }))
}

/// Writes the tensors side by side into files of their own, and joins them at the end.
pub(crate) struct CodesFile {
    // Dropped in this order: the parts go while the lock is still held.
    parts: [GrowingTensor; TENSORS.len()],
    /// What the codes are of.
    about: BTreeMap<String, String>,
    partial: Partial,
}

/// One tensor while it grows; removed when dropped.
struct GrowingTensor {
    path: PathBuf,
    file: BufWriter<File>,
    elements: u64,
}

impl CodesFile {
    /// Begins `output`, which may exist only if `force` is set; `about` says what the codes are of.
    pub(crate) fn create(output: &Path, force: bool, about: BTreeMap<String, String>) -> Result<Self, StoreError> {
        let mut partial = Partial::claim_for(output, CODES, force)?;
        let [a, b, c, d] = TENSORS.map(|(name, _, _)| GrowingTensor::create(partial.side_file(name)));
        let mut file = CodesFile { parts: [a?, b?, c?, d?], about, partial };
        file.parts[1].put(0_i64.to_le_bytes())?;
        Ok(file)
    }

    /// Appends the codes of the store's rows `rows`.
    pub(crate) fn append(&mut self, rows: &[u64], codes: &Codes) -> Result<(), StoreError> {
        let [row_part, start_part, feature_part, activation_part] = &mut self.parts;
        let before = feature_part.elements;
        for (row, start) in rows.iter().zip(&codes.starts()[1..]) {
            row_part.put((*row as i64).to_le_bytes())?;
            start_part.put(((before + *start as u64) as i64).to_le_bytes())?;
        }
        for feature in codes.features() {
            feature_part.put(i64::from(*feature).to_le_bytes())?;
        }
        for activation in codes.activations() {
            activation_part.put(activation.to_le_bytes())?;
        }
        Ok(())
    }

    /// Rows and active features so far.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.parts[0].elements, self.parts[2].elements)
    }

    /// Joins the tensors under their header, syncs, and gives the file its name.
    pub(crate) fn finish(mut self) -> Result<(), StoreError> {
        let unfinished = self.partial.data().to_owned();
        let joined = self.join(&unfinished);
        if joined.is_err() {
            let _ = fs::remove_file(&unfinished);
        }
        joined.map_err(StoreError::io(self.partial.output()))?;
        self.partial.finish().map(|_| ())
    }

    fn join(&mut self, partial: &Path) -> io::Result<()> {
        let mut out = BufWriter::new(create(partial)?);
        let header = header(self.parts.each_ref().map(|part| part.elements), &self.about);
        out.write_all(&(header.len() as u64).to_le_bytes())?;
        out.write_all(header.as_bytes())?;
        for part in &mut self.parts {
            part.file.flush()?;
            io::copy(&mut File::open(&part.path)?, &mut out)?;
        }
        out.into_inner()?.sync_all()
    }
}

impl GrowingTensor {
    fn create(path: PathBuf) -> Result<Self, StoreError> {
        let file = create(&path).map_err(StoreError::io(&path))?;
        Ok(GrowingTensor { path, file: BufWriter::new(file), elements: 0 })
    }

    fn put<const N: usize>(&mut self, bytes: [u8; N]) -> Result<(), StoreError> {
        self.elements += 1;
        self.file.write_all(&bytes).map_err(StoreError::io(&self.path))
    }
}

impl Drop for GrowingTensor {
    fn drop(&mut self) {
        // What cannot be removed is overwritten by the next run.
        let _ = fs::remove_file(&self.path);
    }
}

/// The JSON that says where every tensor lies, padded so that the tensors are aligned.
fn header(elements: [u64; TENSORS.len()], about: &BTreeMap<String, String>) -> String {
    let mut offset = 0;
    let mut tensors = Map::from_iter([(METADATA.to_owned(), json!(about))]);
    for ((name, dtype, size), n) in TENSORS.into_iter().zip(elements) {
        let end = offset + n * size;
        tensors.insert(name.to_owned(), json!({ "dtype": dtype, "shape": [n], "data_offsets": [offset, end] }));
        offset = end;
    }
    let text = Value::Object(tensors).to_string();
    format!("{text:<width$}", width = text.len().next_multiple_of(8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_file_of_codes_is_one() {
        let folder = untangle_sources::Scratch::new().expect("a folder");
        let path = folder.path().join("codes");
        let mut file = CodesFile::create(&path, false, BTreeMap::new()).expect("free");
        file.append(&[], &Codes::new()).expect("nothing");
        file.finish().expect("written");
        assert!(is_codes(&path).expect("read"));
        let whole = fs::read(&path).expect("read");
        for wrong in [&whole[..whole.len() - 1], b"", b"notes", br#"{"text":"a"}"#] {
            fs::write(&path, wrong).expect("written");
            assert!(!is_codes(&path).expect("read"));
            assert!(matches!(CodesFile::create(&path, true, BTreeMap::new()), Err(StoreError::Refused { .. })));
        }
    }

    #[test]
    fn tensors_lie_one_after_the_other_behind_an_aligned_header() {
        let header = header([2, 3, 5, 5], &BTreeMap::from([("sae".to_owned(), "toy".to_owned())]));
        assert_eq!(header.len() % 8, 0);
        let value: Value = serde_json::from_str(&header).expect("JSON");
        assert_eq!(value["__metadata__"], json!({ "sae": "toy" }));
        let place = |name: &str| value[name]["data_offsets"].clone();
        assert_eq!(
            ["rows", "starts", "features", "activations"].map(place),
            [json!([0, 16]), json!([16, 40]), json!([40, 80]), json!([80, 100])]
        );
    }
}
