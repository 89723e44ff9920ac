//! How is a file read whole that may be larger than it should be?

use crate::error::SaeError;
use crate::io::io;
use serde_json::Value;
use std::fs::{self, File};
use std::io::{Read, Seek};
use std::path::Path;
use untangle_schema::{git_lfs, python};

/// Largest configuration that is believed; real ones are a few kilobytes.
const LONGEST_TEXT: u64 = 64 << 20;

/// Bytes of the widest element, and as many again for tensors that are not read.
const LARGEST_ELEMENT: u64 = 16;
/// What a file may hold besides: the longest header that the format allows is 100 MB.
const FURTHER: u64 = 128 << 20;
/// Copies in f32 that a file of the narrowest elements can be made into, for each of its bytes: two of twice its size.
const MOST_PER_BYTE: u64 = 4;

/// How many elements there are of a dictionary's tensors.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Elements {
    /// Of all of them.
    pub(crate) all: u64,
    /// Most that are in memory at the same time in f32, beside the file's own bytes.
    pub(crate) at_once: u64,
}

impl Elements {
    /// Those of `all`, of which one matrix of `transposed` is there twice before the others are read.
    pub(crate) fn with_transposed(all: u64, transposed: u64) -> Self {
        Elements { all, at_once: all.max(transposed.saturating_mul(2)) }
    }
}

/// The text of a configuration.
pub(crate) fn text(path: &Path) -> Result<String, SaeError> {
    let wrong = |reason: String| SaeError::Config { path: path.to_owned(), reason };
    let size = size_of(path)?;
    if size > LONGEST_TEXT {
        return Err(wrong(format!("is {size} bytes long, which no configuration of a dictionary is")));
    }
    let bytes = fs::read(path).map_err(io(path))?;
    if git_lfs::is_pointer(&bytes) {
        return Err(wrong(git_lfs::REMEDY.to_owned()));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        wrong(format!("is not UTF-8, which JSON has to be (byte {at}); save it as UTF-8, or copy it again"))
    })
}

/// The keys and values of a configuration, also as Python writes them: with `NaN` and `Infinity`, which are no JSON and are taken
/// for `null`.
pub(crate) fn json(path: &Path) -> Result<Value, SaeError> {
    let text = text(path)?;
    let parsed = serde_json::from_str(&text).or_else(|error| {
        let mended = python::mend(text.as_bytes(), None).map(|mended| mended.line);
        mended.and_then(|line| serde_json::from_slice(&line).ok()).ok_or(error)
    });
    parsed.map_err(|error| SaeError::Config {
        path: path.to_owned(),
        reason: format!("is not JSON ({error}); correct it there, or copy it again"),
    })
}

/// The bytes of a file of tensors that has so many `elements` as far as the configuration says.
pub(crate) fn bytes(path: &Path, elements: Elements) -> Result<Vec<u8>, SaeError> {
    let size = size_of(path)?;
    if size > elements.all.saturating_mul(LARGEST_ELEMENT).saturating_add(FURTHER) {
        let reason = format!("{size} bytes are more than the tensors that its configuration names");
        return Err(SaeError::Weights { path: path.to_owned(), reason });
    }
    // What the configuration claims and the file does not hold is told by its shapes, before it is made.
    let copies = elements.at_once.saturating_mul(4).min(size.saturating_mul(MOST_PER_BYTE));
    let needed = size.saturating_add(copies);
    check_room(path, needed)?;
    let mut bytes = Vec::new();
    let mut file = File::open(path).map_err(io(path))?;
    bytes.try_reserve_exact(size as usize + 1).map_err(|_| no_room(path, needed))?;
    file.read_to_end(&mut bytes).map_err(io(path))?;
    Ok(bytes)
}

/// Asks for all memory that reading a file takes at once, before anything is made, so that a failure is a message and not an abort.
pub(crate) fn check_room(path: &Path, bytes: u64) -> Result<(), SaeError> {
    let all = usize::try_from(bytes).map_err(|_| no_room(path, bytes))?;
    let mut room = Vec::<u8>::new();
    room.try_reserve_exact(all).map_err(|_| no_room(path, bytes))?;
    // Memory that nobody looks at need not be asked for at all.
    std::hint::black_box(&mut room);
    Ok(())
}

fn no_room(path: &Path, bytes: u64) -> SaeError {
    SaeError::Memory { path: path.to_owned(), gib: bytes.div_ceil(1 << 30) }
}

/// Opens what must be a file, and no pointer to one.
pub(super) fn open(path: &Path) -> Result<File, SaeError> {
    size_of(path)?;
    let mut file = File::open(path).map_err(io(path))?;
    let mut begin = Vec::new();
    file.by_ref().take(git_lfs::POINTER.len() as u64).read_to_end(&mut begin).map_err(io(path))?;
    if git_lfs::is_pointer(&begin) {
        return Err(SaeError::Config { path: path.to_owned(), reason: git_lfs::REMEDY.to_owned() });
    }
    file.rewind().map_err(io(path))?;
    Ok(file)
}

fn size_of(path: &Path) -> Result<u64, SaeError> {
    let metadata = fs::metadata(path).map_err(io(path))?;
    if !metadata.is_file() {
        let reason = "is not a file".to_owned();
        return Err(SaeError::Config { path: path.to_owned(), reason });
    }
    Ok(metadata.len())
}
