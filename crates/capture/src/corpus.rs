//! Which documents do text files hold, and how are they read without holding a file in memory?
//!
//! A file in which a line holds nothing but `<|endoftext|>` is divided into documents at these lines. Any other file is
//! one text: it is divided at the first blank line after every 8 KiB, so that parts of it can be held out of training
//! and nothing has to hold a whole book. A document that is too long even so ends at the end of a line, or between
//! words where no line ends. Line breaks around a document are not part of it, and empty documents are left out. Bytes
//! that are not UTF-8 are replaced by U+FFFD and counted.

use crate::error::CaptureError;
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use untangle_schema::CorpusFile;

/// The line between documents.
pub const SEPARATOR: &[u8] = b"<|endoftext|>";
/// A text without separators is divided at the first blank line after so many bytes: some thousand tokens.
const PART_BYTES: usize = 8 << 10;
/// Longest part of a text without separators.
const LONGEST_PART: usize = 32 << 10;
/// Longest document between separators; longer ones are divided, because tokenizers need a hundred times its bytes.
const LONGEST_DOCUMENT: usize = 256 << 10;
/// How far before the end of a part that has no line break a space is looked for.
const SPACE_WITHIN: usize = 1 << 10;
/// Longest piece of a line that is read at a time.
const PIECE_BYTES: u64 = 16 << 10;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A text file that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextFile {
    /// Where it lies.
    pub path: PathBuf,
    /// Its size when it was opened.
    pub bytes: u64,
}

impl TextFile {
    /// File name without its folder.
    pub fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

/// The text files of a capture, in reading order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Corpus {
    files: Vec<TextFile>,
}

impl Corpus {
    /// Looks at the files without reading them.
    ///
    /// # Errors
    /// [`CaptureError::NotAFile`] for what is missing or a folder, [`CaptureError::NoText`] where none is named.
    pub fn open<P: AsRef<Path>>(paths: &[P]) -> Result<Self, CaptureError> {
        let file = |path: &P| {
            let path = path.as_ref().to_owned();
            match fs::metadata(&path) {
                Ok(about) if about.is_file() => Ok(TextFile { path, bytes: about.len() }),
                Ok(about) if about.is_dir() => {
                    Err(CaptureError::NotAFile { path, problem: "this is a folder; name the text files in it" })
                }
                Ok(_) => {
                    Err(CaptureError::NotAFile { path, problem: "not a regular file; save the text to a file first" })
                }
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    Err(CaptureError::NotAFile { path, problem: "no such file" })
                }
                Err(source) => Err(CaptureError::Io { path, source }),
            }
        };
        let files = paths.iter().map(file).collect::<Result<Vec<_>, _>>()?;
        if files.is_empty() { Err(CaptureError::NoText) } else { Ok(Corpus { files }) }
    }

    /// The files.
    pub fn files(&self) -> &[TextFile] {
        &self.files
    }

    /// Their size together.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }
}

/// What one reading of a whole file says.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Survey {
    pub(crate) file: CorpusFile,
    /// Whether a line is the separator.
    pub(crate) separated: bool,
}

/// Reads a file once, for its hash and its separators. `stop` is asked every megabyte; none is returned if it says so.
pub(crate) fn survey(file: &TextFile, stop: &dyn Fn() -> bool) -> Result<Option<Survey>, CaptureError> {
    let opened = File::open(&file.path).map_err(CaptureError::io(&file.path))?;
    let mut lines = Lines::new(BufReader::with_capacity(1 << 20, opened));
    let (mut hash, mut bytes, mut separated, mut line) = (Sha256::new(), 0u64, false, Vec::new());
    while lines.next(&mut line).map_err(CaptureError::io(&file.path))? {
        hash.update(&line);
        separated |= lines.is_separator(&line);
        let megabyte = bytes >> 20;
        bytes += line.len() as u64;
        if bytes >> 20 > megabyte && stop() {
            return Ok(None);
        }
    }
    let file = CorpusFile { name: file.name(), bytes, sha256: format!("{:x}", hash.finalize()) };
    Ok(Some(Survey { file, separated }))
}

/// Lines with their ends, long ones in pieces.
struct Lines<R> {
    reader: R,
    /// Whether the piece that was read last begins a line, and whether the next one will.
    begins: bool,
    next_begins: bool,
}

impl<R: BufRead> Lines<R> {
    fn new(reader: R) -> Self {
        Lines { reader, begins: true, next_begins: true }
    }

    /// Reads the next piece into `line`; false at the end.
    fn next(&mut self, line: &mut Vec<u8>) -> std::io::Result<bool> {
        line.clear();
        self.begins = self.next_begins;
        self.reader.by_ref().take(PIECE_BYTES).read_until(b'\n', line)?;
        self.next_begins = line.ends_with(b"\n");
        Ok(!line.is_empty())
    }

    /// Whether the piece that was read last is a separator: a whole line of nothing else.
    fn is_separator(&self, line: &[u8]) -> bool {
        self.begins && line.trim_ascii() == SEPARATOR
    }
}

/// A document, and where the file goes on after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Document {
    pub(crate) text: String,
    /// Byte sequences that were not UTF-8.
    pub(crate) replaced: u64,
    /// Byte of the file at which the next document is looked for.
    pub(crate) end: u64,
}

/// The documents of a file from a byte on at which a document may begin.
pub(crate) struct Documents {
    path: PathBuf,
    lines: Lines<BufReader<File>>,
    separated: bool,
    at: u64,
}

impl Documents {
    /// Opens a file at byte `at`, which is 0 or the end of a document.
    pub(crate) fn open(path: &Path, separated: bool, at: u64) -> Result<Self, CaptureError> {
        let mut file = File::open(path).map_err(CaptureError::io(path))?;
        file.seek(SeekFrom::Start(at)).map_err(CaptureError::io(path))?;
        Ok(Documents { path: path.to_owned(), lines: Lines::new(BufReader::new(file)), separated, at })
    }

    /// The next document that is not empty; none at the end of the file.
    pub(crate) fn next(&mut self) -> Result<Option<Document>, CaptureError> {
        loop {
            let (bytes, more) = self.read_one().map_err(CaptureError::io(&self.path))?;
            let content = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&bytes);
            let content = trim_line_breaks(content);
            if !content.trim_ascii().is_empty() {
                let replaced = content.utf8_chunks().filter(|chunk| !chunk.invalid().is_empty()).count() as u64;
                let text = String::from_utf8_lossy(content).into_owned();
                return Ok(Some(Document { text, replaced, end: self.at }));
            }
            if !more {
                return Ok(None);
            }
        }
    }

    /// The bytes up to the next boundary, and whether the file goes on.
    fn read_one(&mut self) -> std::io::Result<(Vec<u8>, bool)> {
        let longest = if self.separated { LONGEST_DOCUMENT } else { LONGEST_PART };
        let (mut bytes, mut line) = (Vec::new(), Vec::new());
        while self.lines.next(&mut line)? {
            self.at += line.len() as u64;
            if self.separated && self.lines.is_separator(&line) {
                return Ok((bytes, true));
            }
            let blank = self.lines.begins && self.lines.next_begins && line.trim_ascii().is_empty();
            bytes.extend_from_slice(&line);
            if !self.separated && blank && bytes.len() >= PART_BYTES {
                return Ok((bytes, true));
            }
            if bytes.len() >= longest {
                let back = bytes.len() - cut(&bytes);
                self.lines.reader.seek_relative(-(back as i64))?;
                self.at -= back as u64;
                bytes.truncate(bytes.len() - back);
                self.lines.next_begins = bytes.ends_with(b"\n");
                return Ok((bytes, true));
            }
        }
        Ok((bytes, false))
    }
}

/// Where a text that is too long is cut: after its last line, else after its last space, else between characters.
fn cut(bytes: &[u8]) -> usize {
    if bytes.ends_with(b"\n") {
        return bytes.len();
    }
    let tail = bytes.len().saturating_sub(SPACE_WITHIN);
    if let Some(space) = bytes[tail..].iter().rposition(u8::is_ascii_whitespace) {
        return tail + space + 1;
    }
    // At most three bytes of a character can be here without its end.
    let begins = |at: usize| bytes[at] & 0b1100_0000 != 0b1000_0000;
    let last = (bytes.len().saturating_sub(4)..bytes.len()).rev().find(|at| begins(*at));
    match last {
        Some(at) if std::str::from_utf8(&bytes[at..]).is_err_and(|error| error.error_len().is_none()) => at,
        _ => bytes.len(),
    }
}

fn trim_line_breaks(text: &[u8]) -> &[u8] {
    let is_break = |byte: &u8| matches!(byte, b'\n' | b'\r');
    let start = text.iter().position(|byte| !is_break(byte)).unwrap_or(text.len());
    let end = text.iter().rposition(|byte| !is_break(byte)).map_or(start, |at| at + 1);
    &text[start..end]
}

#[cfg(test)]
#[path = "corpus_tests.rs"]
mod tests;
