//! Which documents does a plain text hold?
//!
//! A text in which a line holds nothing but `<|endoftext|>` is divided into documents at these lines. Any other is
//! divided at the first blank line after every 8 KiB, so that parts of it can be held out of training and nothing has
//! to hold a whole book. A document that is too long even so ends at the end of a line, or between words where no line
//! ends. Line breaks around a document are not part of it, and empty documents are left out.

use super::bytes::{Bytes, damage};
use super::cut::{LONGEST_DOCUMENT, cut};
use super::form::Packing;
use super::lines::Lines;
use super::place::{Document, Place};
use super::source::Source;
use super::utf8::{decode, first_fault};
use crate::error::CaptureError;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A text without separators is divided at the first blank line after so many bytes: some thousand tokens.
const PART_BYTES: usize = 8 << 10;
/// Longest part of a text without separators.
pub(super) const LONGEST_PART: usize = 32 << 10;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The documents of a plain text.
pub(crate) struct Plain<'a> {
    source: Source<'a>,
    lines: Lines,
    separated: bool,
    /// Byte of the text up to which it is read.
    at: u64,
    /// Bytes of the file that were read.
    read: Arc<AtomicU64>,
}

/// What stands between two boundaries.
struct Piece {
    bytes: Vec<u8>,
    /// Whether the text goes on.
    more: bool,
}

impl<'a> Plain<'a> {
    /// Opens a text at its begin or the end of a document.
    pub(super) fn open(source: Source<'a>, separated: bool, from: Place) -> Result<Self, CaptureError> {
        let Bytes { reader, read } = Bytes::open(source.path, source.label, source.packing, from.at)?;
        let mut lines = Lines::new(reader);
        lines.next_begins = from.within == 0;
        Ok(Plain { source, lines, separated, at: from.at, read })
    }

    /// Where reading goes on.
    fn place(&self) -> Place {
        let read = if self.source.packing == Packing::None { self.at } else { self.read.load(Ordering::Relaxed) };
        Place { at: self.at, line: 0, within: u64::from(!self.lines.next_begins), read }
    }

    /// The next document that is not empty; none at the end of the text.
    pub(super) fn next(&mut self) -> Result<Option<Document>, CaptureError> {
        loop {
            let start = self.at;
            let Piece { bytes, more } = self.read_one().map_err(damage(self.source.label))?;
            let content = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&bytes);
            let content = trim_line_breaks(content);
            if !content.trim_ascii().is_empty() {
                if self.source.strict
                    && let Some(fault) = first_fault(content)
                {
                    let before = content.as_ptr().addr() - bytes.as_ptr().addr();
                    let at = format!("byte {}", start + (before + fault) as u64);
                    return Err(CaptureError::NotUtf8 { file: self.source.label.to_owned(), at });
                }
                let decoded = decode(content.to_vec());
                let (text, replaced) = (decoded.text, decoded.replaced);
                return Ok(Some(Document { text, replaced, end: self.place() }));
            }
            if !more {
                return Ok(None);
            }
        }
    }

    /// The bytes up to the next boundary.
    fn read_one(&mut self) -> std::io::Result<Piece> {
        let longest = if self.separated { LONGEST_DOCUMENT } else { LONGEST_PART };
        let (mut bytes, mut line) = (Vec::new(), Vec::new());
        while self.lines.next(&mut line)? {
            self.at += line.len() as u64;
            if self.separated && self.lines.is_separator(&line) {
                return Ok(Piece { bytes, more: true });
            }
            let blank = self.lines.begins && self.lines.next_begins && line.trim_ascii().is_empty();
            bytes.extend_from_slice(&line);
            if !self.separated && blank && bytes.len() >= PART_BYTES {
                return Ok(Piece { bytes, more: true });
            }
            if bytes.len() >= longest {
                let rest = bytes.split_off(cut(&bytes));
                self.at -= rest.len() as u64;
                self.lines.put_back(&rest, bytes.ends_with(b"\n"));
                return Ok(Piece { bytes, more: true });
            }
        }
        Ok(Piece { bytes, more: false })
    }
}

fn trim_line_breaks(text: &[u8]) -> &[u8] {
    let is_break = |byte: &u8| matches!(byte, b'\n' | b'\r');
    let start = text.iter().position(|byte| !is_break(byte)).unwrap_or(text.len());
    let end = text.iter().rposition(|byte| !is_break(byte)).map_or(start, |at| at + 1);
    &text[start..end]
}
