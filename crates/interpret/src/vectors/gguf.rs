//! Control vectors in GGUF, as repeng writes them and llama.cpp reads them.
//!
//! `general.architecture` is `controlvector`; the tensor `direction.L`, f32 `[d_model]`, is added to what block L writes to
//! the residual stream, blocks counted from 0: `blocks.L.hook_resid_post`. llama.cpp refuses a file with `direction.0`, and
//! repeng makes none. The container (ggml's `docs/gguf.md`), little-endian:
//!
//! ```text
//! "GGUF", u32 version (2 or 3), u64 tensors, u64 keys
//! key: string name, u32 type, value                         string: u64 bytes, UTF-8
//! tensor: string name, u32 dimensions, u64 each, u32 type, u64 offset
//! padding to the alignment (32), then the tensors at their offsets from there
//! ```
//!
//! The format names a kind of model and no weights. Two keys of our own, which others pass by, name the model that a vector was
//! made on: `untangle.model_name` and `untangle.weights_sha256`.

use super::container::{F32, Reader, STRING, UINT32};
use super::problem::VectorProblem;
use crate::error::InterpretError;
use crate::point::model_name;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use untangle_schema::{HookPoint, ModelIdentity, Site};
use untangle_store::{Artefact, StoreError};

/// A control vector, as an output.
pub const CONTROL_VECTOR: Artefact =
    Artefact { name: "a GGUF control vector", is_folder: false, is_at: |path| Ok(parse(&fs::read(path)?).is_ok()) };

/// Directions by block.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ControlVector {
    /// The kind of model that they are for, as `model_type` says it.
    pub model_hint: String,
    /// The name of the model that they were made on; empty where the file does not say it.
    pub model_name: String,
    /// The hash of its weights; empty where the file does not say it.
    pub weights_sha256: String,
    /// By block, what is added to the residual stream behind it.
    pub directions: BTreeMap<usize, Vec<f32>>,
}

/// Bytes to which tensors are aligned where no key says otherwise.
const ALIGNMENT: usize = 32;
/// Largest file that is read: 1000 layers of a width of 100,000 take no more.
const MOST_BYTES: u64 = 1 << 29;

/// Where files keep what they were made on.
const HINT: &str = "controlvector.model_hint";
const NAME: &str = "untangle.model_name";
const WEIGHTS: &str = "untangle.weights_sha256";

impl ControlVector {
    /// Directions by block that were made on a model.
    pub fn of(model: &ModelIdentity, directions: BTreeMap<usize, Vec<f32>>) -> Self {
        ControlVector {
            model_hint: model.model_type.clone(),
            model_name: model.name.clone(),
            weights_sha256: model.weights_sha256.clone(),
            directions,
        }
    }

    /// What to say where a model may not be the one that the directions were made on.
    pub fn doubt(&self, model: &ModelIdentity) -> Option<String> {
        if !self.weights_sha256.is_empty() {
            return (self.weights_sha256 != model.weights_sha256).then(|| {
                let own = model_name(&self.model_name, &self.weights_sha256);
                format!("was made on the model {own}, this is {}", model_name(&model.name, &model.weights_sha256))
            });
        }
        let (own, given) = (&self.model_hint, &model.model_type);
        let differs = !own.is_empty() && !given.is_empty() && own != given;
        differs.then(|| format!("is for models of the type {own}, this is a {given}"))
    }

    /// Reads a file.
    ///
    /// # Errors
    /// When it is missing, or no control vector.
    pub fn read(path: &Path) -> Result<Self, InterpretError> {
        let io = |source| InterpretError::from(StoreError::Io { path: path.to_owned(), source });
        let wrong = |problem: String| VectorProblem::NoControlVector { path: path.to_owned(), problem };
        let bytes = fs::metadata(path).map_err(io)?.len();
        if bytes > MOST_BYTES {
            return Err(wrong(format!("has {bytes} bytes, more than any has")).into());
        }
        parse(&fs::read(path).map_err(io)?).map_err(|problem| wrong(problem).into())
    }

    /// The direction at a hook point; without one, the only one that there is.
    ///
    /// # Errors
    /// When there is none, or there are several to choose from.
    pub fn at(&self, point: Option<HookPoint>, path: &Path) -> Result<(HookPoint, &[f32]), VectorProblem> {
        let place = |block: usize| HookPoint::block(block, Site::ResidPost);
        let found = match (point, self.directions.iter().next()) {
            (None, Some((block, direction))) if self.directions.len() == 1 => Some((place(*block), &direction[..])),
            (None, _) => None,
            (Some(point), _) => {
                let mut all = self.directions.iter().map(|(block, direction)| (place(*block), &direction[..]));
                all.find(|(own, _)| *own == point)
            }
        };
        found.ok_or_else(|| {
            let known: Vec<String> = self.directions.keys().map(|block| place(*block).to_string()).collect();
            let asked = point.map(|point| point.to_string());
            VectorProblem::NoSuchLayer { path: path.to_owned(), asked, known: known.join(", ") }
        })
    }

    /// The bytes of a file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = b"GGUF".to_vec();
        out.extend(3u32.to_le_bytes());
        out.extend((self.directions.len() as u64).to_le_bytes());
        let all = [
            ("general.architecture", "controlvector"),
            (HINT, &self.model_hint),
            (NAME, &self.model_name),
            (WEIGHTS, &self.weights_sha256),
        ];
        let texts: Vec<(&str, &str)> = all.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        out.extend((texts.len() as u64 + 1).to_le_bytes());
        for (key, value) in texts {
            put_text(&mut out, key);
            out.extend(STRING.to_le_bytes());
            put_text(&mut out, value);
        }
        put_text(&mut out, "controlvector.layer_count");
        out.extend(UINT32.to_le_bytes());
        out.extend((self.directions.len() as u32).to_le_bytes());
        let mut offset = 0u64;
        for (block, direction) in &self.directions {
            put_text(&mut out, &format!("direction.{block}"));
            out.extend(1u32.to_le_bytes());
            out.extend((direction.len() as u64).to_le_bytes());
            out.extend(F32.to_le_bytes());
            out.extend(offset.to_le_bytes());
            offset += (4 * direction.len()).next_multiple_of(ALIGNMENT) as u64;
        }
        for direction in self.directions.values() {
            out.resize(out.len().next_multiple_of(ALIGNMENT), 0);
            out.extend(direction.iter().flat_map(|x| x.to_le_bytes()));
        }
        out.resize(out.len().next_multiple_of(ALIGNMENT), 0);
        out
    }
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

/// Reads a file's bytes; a problem in words.
fn parse(bytes: &[u8]) -> Result<ControlVector, String> {
    let mut reader = Reader { bytes, at: 0 };
    if reader.take(4)? != b"GGUF" {
        return Err("is no GGUF file".to_owned());
    }
    let version = reader.u32()?;
    if !(2..=3).contains(&version) {
        return Err(format!("is GGUF of version {version}, where 2 and 3 are read"));
    }
    let (n_tensors, n_keys) = (reader.count()?, reader.count()?);
    let (mut architecture, mut vector, mut alignment) = (String::new(), ControlVector::default(), ALIGNMENT);
    for _ in 0..n_keys {
        let (key, kind) = (reader.text()?, reader.u32()?);
        match (key.as_str(), kind) {
            ("general.architecture", STRING) => architecture = reader.text()?,
            (HINT, STRING) => vector.model_hint = reader.text()?,
            (NAME, STRING) => vector.model_name = reader.text()?,
            (WEIGHTS, STRING) => vector.weights_sha256 = reader.text()?,
            ("general.alignment", UINT32) => alignment = reader.u32()? as usize,
            _ => reader.skip(kind, 0)?,
        }
    }
    if architecture != "controlvector" {
        return Err(format!("is GGUF of the architecture {architecture:?} and not `controlvector`"));
    }
    if alignment == 0 || !alignment.is_multiple_of(8) {
        return Err(format!("aligns its tensors to {alignment} bytes"));
    }
    let entries = (0..n_tensors).map(|_| reader.entry()).collect::<Result<Vec<_>, _>>()?;
    let data = bytes.get(reader.at.next_multiple_of(alignment)..).ok_or("ends before its tensors")?;
    for entry in entries {
        let block = entry.name.strip_prefix("direction.").and_then(|block| block.parse().ok());
        let block: usize =
            block.ok_or_else(|| format!("has a tensor `{}`, which is no direction of a block", entry.name))?;
        if vector.directions.insert(block, entry.numbers(data)?).is_some() {
            return Err(format!("has two directions of block {block}"));
        }
    }
    if vector.directions.is_empty() {
        return Err("has no direction".to_owned());
    }
    Ok(vector)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn vector() -> ControlVector {
        let directions = [(1, vec![0.5, -1.0, 3.25]), (12, vec![1.0; 9])].into();
        ControlVector { model_hint: "gpt2".to_owned(), directions, ..Default::default() }
    }

    fn model(model_type: &str, weights: &str) -> ModelIdentity {
        let (model_type, weights_sha256) = (model_type.to_owned(), weights.to_owned());
        ModelIdentity {
            name: "small".to_owned(),
            model_type,
            weights_sha256,
            revision: None,
            tokenizer_sha256: String::new(),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(parse(&vector().to_bytes()), Ok(vector()));
        let named = ControlVector::of(&model("gpt2", "0123456789"), vector().directions);
        assert_eq!(parse(&named.to_bytes()), Ok(named));
    }

    #[test]
    fn another_model_is_told() {
        let named = ControlVector::of(&model("gpt2", "0123456789"), vector().directions);
        assert_eq!(named.doubt(&model("gpt2", "0123456789")), None);
        let doubt = named.doubt(&model("gpt2", "abcdefghij")).expect("other weights");
        assert_eq!(doubt, "was made on the model small (weights 01234567), this is small (weights abcdefgh)");
        // Other tools' files say no more than the type.
        assert_eq!(vector().doubt(&model("gpt2", "any")), None);
        assert_eq!(
            vector().doubt(&model("llama", "any")).expect("a type"),
            "is for models of the type gpt2, this is a llama"
        );
    }

    #[test]
    fn the_file_of_another_tool_is_read() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/parity/fixtures/vectors/control.gguf");
        let found = ControlVector::read(&path).expect("as repeng writes it");
        let direction = |block: usize| (0..5u8).map(|at| 0.25 * f32::from(at) - block as f32).collect::<Vec<_>>();
        let directions = [1, 2, 3].map(|block| (block, direction(block))).into();
        assert_eq!(found, ControlVector { model_hint: "gpt2".to_owned(), directions, ..Default::default() });
    }

    #[test]
    fn layers_are_named_as_hook_points() {
        let (vector, path) = (vector(), Path::new("v.gguf"));
        let point = HookPoint::block(12, Site::ResidPost);
        assert_eq!(vector.at(Some(point), path).expect("there"), (point, &[1.0; 9][..]));
        let message = vector.at(None, path).expect_err("two").to_string();
        assert!(message.contains("v.gguf has directions for blocks.1"), "{message}");
        assert!(message.ends_with("say which, as in vector 'v.gguf' in blocks.1.hook_resid_post"), "{message}");
        assert!(message.contains("blocks.1.hook_resid_post, blocks.12.hook_resid_post"), "{message}");
    }

    #[test]
    fn every_cut_and_every_other_file_is_refused() {
        let bytes = vector().to_bytes();
        for end in 0..bytes.len() - 32 {
            assert!(parse(&bytes[..end]).is_err(), "{end} bytes");
        }
        let mut other = bytes.clone();
        let at = other.windows(13).position(|w| w == b"controlvector").expect("there");
        other[at..at + 13].copy_from_slice(b"llamallamalla");
        assert!(parse(&other).expect_err("a model").contains("architecture"));
        assert!(parse(b"PK\x03\x04").expect_err("a zip file").contains("no GGUF"));
    }

    proptest! {
        #[test]
        fn no_damage_is_too_odd(at in 0usize..400, byte in any::<u8>(), more in any::<[u8; 8]>()) {
            let mut bytes = vector().to_bytes();
            let at = at % (bytes.len() - 8);
            bytes[at] = byte;
            let _ = parse(&bytes);
            bytes[at..at + 8].copy_from_slice(&more);
            let _ = parse(&bytes);
        }
    }
}
