//! How weight files are read: safetensors, one file or several, tensor by tensor.
//!
//! Files are read once, front to back: hashed, converted to the wanted kind and dropped, so that the peak is the model
//! and its largest tensor. Nothing is allocated on the word of a header before it was checked against the file's size.

use crate::error::ModelError;
use crate::fields::Fields;
use crate::room::Room;
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use tch::{Kind, Tensor};
use untangle_schema::{git_lfs, memory};

/// File name of weights in one piece.
pub(crate) const SINGLE: &str = "model.safetensors";
/// File name of the list of shards.
pub(crate) const INDEX: &str = "model.safetensors.index.json";
/// Longest header that is read, as in the safetensors library.
const MAX_HEADER: u64 = 100_000_000;
/// Bytes of the header's length.
const LENGTH_BYTES: u64 = 8;

/// All tensors of a model's weight files.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    /// The weight file, or the index of the shards.
    pub(crate) path: PathBuf,
    /// Tensors by name, each with the file that holds it.
    pub(crate) tensors: BTreeMap<String, (Tensor, Rc<Path>)>,
    /// SHA-256 over the files in the order of their names, in hexadecimal.
    pub(crate) sha256: String,
    /// Whether some of them are doubles in the files.
    pub(crate) rounded: bool,
}

/// How tensors are taken from a file.
pub(crate) struct Reading<'a> {
    /// Kind that tensors are converted to.
    pub(crate) kind: Kind,
    /// Whether a tensor is passed over.
    pub(crate) ignored: &'a dyn Fn(&str) -> bool,
}

impl Checkpoint {
    /// Reads the weights in a Hugging Face directory.
    pub(crate) fn from_dir(dir: &Path, reading: &Reading<'_>) -> Result<Self, ModelError> {
        let single = dir.join(SINGLE);
        if single.is_file() {
            return Self::read_files(single.clone(), [single], reading);
        }
        let index = dir.join(INDEX);
        if !index.is_file() {
            return Err(ModelError::NoModel { path: dir.to_owned(), missing: SINGLE });
        }
        let shards = shard_names(&index)?.into_iter().map(|name| dir.join(name));
        Self::read_files(index, shards, reading)
    }

    /// Reads the bytes of one safetensors file.
    pub(crate) fn from_bytes(bytes: &[u8], reading: &Reading<'_>) -> Result<Self, ModelError> {
        let path = PathBuf::from(SINGLE);
        let mut reader = Shard { path: &path, source: bytes, digest: Sha256::new(), rounded: false };
        let mut tensors = BTreeMap::new();
        reader.read_into(bytes.len() as u64, reading, &mut tensors)?;
        let (rounded, sha256) = (reader.rounded, format!("{:x}", reader.digest.finalize()));
        Ok(Self { path, tensors, sha256, rounded })
    }

    fn read_files(
        path: PathBuf,
        files: impl IntoIterator<Item = PathBuf>,
        reading: &Reading<'_>,
    ) -> Result<Self, ModelError> {
        let files: Vec<PathBuf> = files.into_iter().collect();
        let mut room = Room::default();
        for file in &files {
            let (source, len) = open(file, &path)?;
            let (digest, rounded) = (Sha256::new(), false);
            room.add(&Shard { path: file, source: BufReader::new(source), digest, rounded }.header(len)?, reading);
        }
        room.check(&path, reading.kind, memory::available())?;
        let (mut digest, mut rounded) = (Sha256::new(), false);
        let mut tensors = BTreeMap::new();
        for file in &files {
            let (source, len) = open(file, &path)?;
            let mut shard = Shard { path: file, source: BufReader::new(source), digest, rounded };
            shard.read_into(len, reading, &mut tensors)?;
            (digest, rounded) = (shard.digest, shard.rounded);
        }
        Ok(Self { path, tensors, sha256: format!("{:x}", digest.finalize()), rounded })
    }
}

/// A weight file and its length; `path` is the file itself, or the index that names it.
fn open(file: &Path, path: &Path) -> Result<(File, u64), ModelError> {
    let io = |source| ModelError::Io { path: file.to_owned(), source };
    let source = File::open(file).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound if file != path => {
            ModelError::MissingShard { path: file.to_owned(), index: path.to_owned() }
        }
        _ => io(error),
    })?;
    let len = source.metadata().map_err(io)?.len();
    Ok((source, len))
}

/// The shard files that an index names, sorted; all must be plain names, so that no file elsewhere is read.
pub(crate) fn shard_names(index: &Path) -> Result<BTreeSet<String>, ModelError> {
    let text = std::fs::read(index).map_err(|source| ModelError::Io { path: index.to_owned(), source })?;
    let fields = Fields::parse(index, &text)?;
    let refuse = || fields.refuse("weight_map", "an object of tensor names and the names of files beside it");
    let Some(Value::Object(map)) = fields.get("weight_map") else { return Err(refuse()) };
    let plain = |name: &str| Path::new(name).file_name().is_some_and(|file| file == name);
    let names = map.values().map(|file| file.as_str().filter(|name| plain(name)).map(str::to_owned));
    names.collect::<Option<_>>().ok_or_else(refuse)
}

/// A safetensors file that is being read, with the digest of all files so far.
struct Shard<'a, R> {
    path: &'a Path,
    source: R,
    digest: Sha256,
    /// Whether some of their tensors are doubles.
    rounded: bool,
}

impl<R: Read> Shard<'_, R> {
    fn read_into(
        &mut self,
        len: u64,
        reading: &Reading<'_>,
        tensors: &mut BTreeMap<String, (Tensor, Rc<Path>)>,
    ) -> Result<(), ModelError> {
        let metadata = self.header(len)?;
        let path: Rc<Path> = Rc::from(self.path);
        for name in metadata.offset_keys() {
            let Some(info) = metadata.info(&name) else { continue };
            let bytes = self.bytes((info.data_offsets.1 - info.data_offsets.0) as u64)?;
            if !(reading.ignored)(&name) {
                let tensor = self.tensor(&name, info, &bytes)?.to_kind(reading.kind);
                self.rounded |= info.dtype == Dtype::F64;
                if let Some((_, other)) = tensors.get(&name) {
                    let (path, other) = (self.path.to_owned(), other.to_path_buf());
                    return Err(ModelError::DuplicateTensor { path, name, other });
                }
                tensors.insert(name, (tensor, Rc::clone(&path)));
            }
        }
        Ok(())
    }

    /// Reads and checks the header of a file of `len` bytes.
    fn header(&mut self, len: u64) -> Result<Metadata, ModelError> {
        if len < LENGTH_BYTES {
            return Err(self.broken(format!("it has {len} bytes")));
        }
        let length = self.bytes(LENGTH_BYTES)?;
        let header_len = length.iter().rev().fold(0u64, |value, byte| value << 8 | u64::from(*byte));
        if git_lfs::POINTER.starts_with(&length) {
            return Err(ModelError::Pointer { path: self.path.to_owned() });
        }
        if header_len > MAX_HEADER.min(len - LENGTH_BYTES) {
            return Err(self.broken(format!("its header claims {header_len} bytes, the file has {len}")));
        }
        let header = self.bytes(header_len)?;
        let metadata: Metadata =
            serde_json::from_slice(&header).map_err(|error| self.broken(format!("its header is damaged: {error}")))?;
        let promised = metadata.data_len() as u64;
        let present = len - LENGTH_BYTES - header_len;
        if promised != present {
            return Err(self.broken(format!("its header promises {promised} bytes of tensors, {present} are there")));
        }
        Ok(metadata)
    }

    fn tensor(&self, name: &str, info: &TensorInfo, bytes: &[u8]) -> Result<Tensor, ModelError> {
        let kind = match info.dtype {
            Dtype::F64 => Kind::Double,
            Dtype::F32 => Kind::Float,
            Dtype::F16 => Kind::Half,
            Dtype::BF16 => Kind::BFloat16,
            other => {
                let found = format!("{other:?}");
                return Err(ModelError::WrongDtype { path: self.path.to_owned(), name: name.to_owned(), found });
            }
        };
        let shape: Result<Vec<i64>, _> = info.shape.iter().map(|n| i64::try_from(*n)).collect();
        let shape = shape.map_err(|_| self.broken(format!("tensor `{name}` claims the shape {:?}", info.shape)))?;
        Tensor::f_from_data_size(bytes, &shape, kind)
            .map_err(|source| ModelError::Torch { doing: "making a tensor of a weight file", source })
    }

    fn bytes(&mut self, n: u64) -> Result<Vec<u8>, ModelError> {
        let mut bytes = vec![0; n as usize];
        self.source.read_exact(&mut bytes).map_err(|source| ModelError::Io { path: self.path.to_owned(), source })?;
        self.digest.update(&bytes);
        Ok(bytes)
    }

    fn broken(&self, reason: String) -> ModelError {
        ModelError::Weights { path: self.path.to_owned(), reason }
    }
}
