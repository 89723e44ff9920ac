//! How is a file read whole that may be larger than it should be?

use crate::error::SaeError;
use crate::io::io;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

/// Largest configuration that is believed; real ones are a few kilobytes.
const LONGEST_TEXT: u64 = 64 << 20;

/// Bytes of the widest element, and as many again for tensors that are not read.
const LARGEST_ELEMENT: u64 = 16;
/// What a file may hold besides: the longest header that the format allows is 100 MB.
const FURTHER: u64 = 128 << 20;

/// Copies of the tensors that live at the same time while a dictionary is made of its file: the file's own, those in f32, their
/// transposes, and the encoder in the arithmetic that is fastest.
const COPIES: u64 = 4;

/// The text of a configuration.
pub(crate) fn text(path: &Path) -> Result<String, SaeError> {
    let size = size_of(path)?;
    if size > LONGEST_TEXT {
        let reason = format!("is {size} bytes long, which no configuration of a dictionary is");
        return Err(SaeError::Config { path: path.to_owned(), reason });
    }
    fs::read_to_string(path).map_err(io(path))
}

/// The bytes of a file of tensors that has `elements` of them as far as the configuration says.
pub(crate) fn bytes(path: &Path, elements: u64) -> Result<Vec<u8>, SaeError> {
    let size = size_of(path)?;
    if size > elements.saturating_mul(LARGEST_ELEMENT).saturating_add(FURTHER) {
        let reason = format!("{size} bytes are more than the tensors that its configuration names");
        return Err(SaeError::Weights { path: path.to_owned(), reason });
    }
    // What the configuration claims and the file does not hold is told by its shapes, before it is made.
    let copies = elements.saturating_mul(4 * COPIES).min(size.saturating_mul(2 * COPIES));
    let needed = size.saturating_add(copies);
    let refuse = || SaeError::Memory { path: path.to_owned(), gib: needed.div_ceil(1 << 30) };
    let mut bytes = Vec::new();
    // Asked for once, before anything of it is made, so that a failure is a message and not an abort.
    let all = usize::try_from(needed).map_err(|_| refuse())?;
    bytes.try_reserve_exact(all).map_err(|_| refuse())?;
    drop(std::mem::take(&mut bytes));
    let mut file = File::open(path).map_err(io(path))?;
    bytes.try_reserve_exact(size as usize + 1).map_err(|_| refuse())?;
    file.read_to_end(&mut bytes).map_err(io(path))?;
    Ok(bytes)
}

fn size_of(path: &Path) -> Result<u64, SaeError> {
    let metadata = fs::metadata(path).map_err(io(path))?;
    if !metadata.is_file() {
        let reason = "is not a file".to_owned();
        return Err(SaeError::Config { path: path.to_owned(), reason });
    }
    Ok(metadata.len())
}
