//! How are the bytes of a text read, compressed or not?

use super::form::Packing;
use super::gzip::Members;
use crate::error::CaptureError;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes that are read from a file at a time.
const BUFFER: usize = 256 << 10;
/// Largest window of zstd, as a power of two: 2 GiB, of which as much is used as there is text (`zstd --long=31`).
const LARGEST_WINDOW: u32 = 31;

/// A reader of text.
pub(super) type TextReader = Box<dyn BufRead + Send>;

/// The text of a file, with the number of the file's own bytes that were read for it.
pub(super) struct Bytes {
    pub(super) reader: TextReader,
    pub(super) read: Arc<AtomicU64>,
}

impl Bytes {
    /// Opens a file at byte `at` of its text. What is compressed is read up to there.
    pub(super) fn open(path: &Path, label: &str, packing: Packing, at: u64) -> Result<Self, CaptureError> {
        let mut file = File::open(path).map_err(CaptureError::io(path))?;
        let plain = packing == Packing::None;
        if plain {
            file.seek(SeekFrom::Start(at)).map_err(CaptureError::io(path))?;
        }
        let read = Arc::new(AtomicU64::new(if plain { at } else { 0 }));
        let mut reader = unpack(Counted { inner: file, read: Arc::clone(&read) }, packing).map_err(damage(label))?;
        if !plain {
            io::copy(&mut reader.by_ref().take(at), &mut io::sink()).map_err(damage(label))?;
        }
        Ok(Bytes { reader, read })
    }
}

/// The text behind a file's bytes.
pub(super) fn unpack(file: impl Read + Send + 'static, packing: Packing) -> io::Result<TextReader> {
    Ok(match packing {
        Packing::None => Box::new(BufReader::with_capacity(BUFFER, file)),
        Packing::Gzip => {
            let decoder = Members::new(BufReader::with_capacity(BUFFER, file));
            Box::new(BufReader::with_capacity(BUFFER, decoder))
        }
        Packing::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::new(file)?;
            decoder.window_log_max(LARGEST_WINDOW)?;
            Box::new(BufReader::with_capacity(BUFFER, decoder))
        }
    })
}

/// What a failure to read `label` means: what the system does not complain of is wrong with the compressed content.
pub(super) fn damage(label: &str) -> impl FnOnce(io::Error) -> CaptureError {
    move |error| {
        if error.raw_os_error().is_some() {
            return CaptureError::Io { path: label.into(), source: error };
        }
        if let Some((what, remedy)) = need(&error.to_string()) {
            return CaptureError::Unsupported {
                file: label.to_owned(),
                what: what.to_owned(),
                remedy: remedy.to_owned(),
            };
        }
        let problem = match error.kind() {
            io::ErrorKind::UnexpectedEof => "it ends in the middle of its compressed content".to_owned(),
            _ => format!("its compressed content is damaged ({error})"),
        };
        CaptureError::Damaged { file: label.to_owned(), problem }
    }
}

/// What a compressed file needs that is not here, and what to do, by what zstd says of it.
pub(super) fn need(said: &str) -> Option<(&'static str, &'static str)> {
    let needs = [
        ("too much memory", "its window is larger than 2 GiB", "compress it again, with `zstd --long=31` at most"),
        ("Allocation error", "there is not enough memory for its window", "compress it again, without `--long`"),
        (
            "Dictionary mismatch",
            "it was compressed with a dictionary that is not in it",
            "decompress it first, with `zstd -d -D DICTIONARY`",
        ),
        (
            "Version not supported",
            "it was compressed with an old version of zstd",
            "compress it again, with zstd 1.0 or later",
        ),
    ];
    needs.into_iter().find(|(words, ..)| said.contains(words)).map(|(_, what, remedy)| (what, remedy))
}

/// Counts what is read.
struct Counted<R> {
    inner: R,
    read: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.read.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

/// Number of bytes of a file, and their SHA-256 in hexadecimal. `stop` is asked every megabyte; none is returned if it
/// says so.
pub(super) fn hash(path: &Path, stop: &dyn Fn() -> bool) -> io::Result<Option<(u64, String)>> {
    let mut file = File::open(path)?;
    let (mut hash, mut bytes, mut buffer) = (Sha256::new(), 0, vec![0; 1 << 20]);
    loop {
        let n = file.read(&mut buffer)?;
        if n == 0 {
            return Ok(Some((bytes, format!("{:x}", hash.finalize()))));
        }
        hash.update(&buffer[..n]);
        bytes += n as u64;
        if stop() {
            return Ok(None);
        }
    }
}
