//! How are lines read whose length nobody knows?

use super::bytes::TextReader;
use std::io::{self, BufRead, Read};

/// Longest piece of a line that is read at a time.
const PIECE_BYTES: u64 = 16 << 10;
/// The line between documents.
pub const SEPARATOR: &[u8] = b"<|endoftext|>";

/// Lines with their ends, long ones in pieces.
pub(super) struct Lines {
    reader: Rewound,
    /// Whether the piece that was read last begins a line, and whether the next one will.
    pub(super) begins: bool,
    pub(super) next_begins: bool,
}

impl Lines {
    pub(super) fn new(reader: TextReader) -> Self {
        Lines { reader: Rewound { back: Vec::new(), at: 0, reader }, begins: true, next_begins: true }
    }

    /// Reads the next piece into `line`; false at the end.
    pub(super) fn next(&mut self, line: &mut Vec<u8>) -> io::Result<bool> {
        line.clear();
        self.begins = self.next_begins;
        self.reader.by_ref().take(PIECE_BYTES).read_until(b'\n', line)?;
        self.next_begins = line.ends_with(b"\n");
        Ok(!line.is_empty())
    }

    /// Takes back bytes that were read last; the next piece begins a line if `begins`.
    pub(super) fn put_back(&mut self, bytes: &[u8], begins: bool) {
        let left = self.reader.back.split_off(self.reader.at);
        self.reader.back = [bytes, &left].concat();
        self.reader.at = 0;
        self.next_begins = begins;
    }

    /// Whether the piece that was read last is a separator: a whole line of nothing else.
    pub(super) fn is_separator(&self, line: &[u8]) -> bool {
        self.begins && line.trim_ascii() == SEPARATOR
    }
}

/// A reader with bytes before it that were taken back.
struct Rewound {
    back: Vec<u8>,
    /// How many of them were read again.
    at: usize,
    reader: TextReader,
}

impl Read for Rewound {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.fill_buf()?.read(buffer)?;
        self.consume(n);
        Ok(n)
    }
}

impl BufRead for Rewound {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at < self.back.len() { Ok(&self.back[self.at..]) } else { self.reader.fill_buf() }
    }

    fn consume(&mut self, n: usize) {
        if self.at < self.back.len() { self.at += n } else { self.reader.consume(n) }
    }
}
