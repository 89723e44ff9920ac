//! Which row of a table is too long to be read?
//!
//! The levels of a row are decoded all at once, and a page of bytes can say of millions of entries that they belong to one row.
//! So the repetition levels of every page are looked through before it is decoded: they are runs (the format's Encodings.md,
//! "RLE/Bit-Packing Hybrid"), of which nothing is kept but how many entries the row has.

use parquet::basic::Encoding;
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::errors::{ParquetError, Result};
use std::fmt;

/// Most entries that a row may have in a column: a conversation has one for every message, or part of one.
const MOST_ENTRIES: u64 = 1 << 18;

/// A row that is too long, and why.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LongRow {
    /// Counted from 1.
    pub(super) row: u64,
    pub(super) problem: String,
}

impl fmt::Display for LongRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "row {} {}", self.row, self.problem)
    }
}

impl std::error::Error for LongRow {}

/// The pages of a column, up to the first with a row that is too long.
pub(super) struct Pages {
    inner: Box<dyn PageReader>,
    rows: Rows,
}

/// How far the rows of a column were counted.
#[derive(Debug, PartialEq, Eq)]
struct Rows {
    /// Bits of a repetition level; none in columns outside of lists.
    bits: u32,
    /// Rows that were begun, of the table.
    row: u64,
    /// Entries of the last of them.
    entries: u64,
}

impl Pages {
    /// The pages of a column with levels up to `max_rep_level`, of a group of rows in front of which there are so many.
    pub(super) fn new(inner: Box<dyn PageReader>, max_rep_level: i16, rows_before: u64) -> Self {
        let bits = u16::BITS - max_rep_level.unsigned_abs().leading_zeros();
        Pages { inner, rows: Rows { bits, row: rows_before, entries: 0 } }
    }
}

impl PageReader for Pages {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        let page = self.inner.get_next_page()?;
        if let Some(page) = &page {
            self.rows.count(page)?;
        }
        Ok(page)
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        self.inner.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<()> {
        let page = self.inner.peek_next_page()?;
        self.rows.row += page.and_then(|page| page.num_rows).unwrap_or(0) as u64;
        self.rows.entries = 0;
        self.inner.skip_next_page()
    }

    fn supports_deferred_dictionary(&self) -> bool {
        self.inner.supports_deferred_dictionary()
    }

    fn take_deferred_dictionary(&mut self) -> Result<Option<Page>> {
        self.inner.take_deferred_dictionary()
    }

    fn at_record_boundary(&mut self) -> Result<bool> {
        self.inner.at_record_boundary()
    }
}

impl Iterator for Pages {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

impl Rows {
    fn count(&mut self, page: &Page) -> Result<()> {
        if self.bits == 0 {
            return Ok(());
        }
        let cut = || ParquetError::General("a page ends within its levels".to_owned());
        let (levels, values) = match page {
            Page::DictionaryPage { .. } => return Ok(()),
            Page::DataPage { rep_level_encoding: Encoding::RLE, buf, num_values, .. } => {
                let (length, rest) = buf.split_first_chunk::<4>().ok_or_else(cut)?;
                (rest.get(..u32::from_le_bytes(*length) as usize), *num_values)
            }
            Page::DataPage { .. } => {
                return Err(ParquetError::NYI("levels of lists in the encoding of parquet 1".to_owned()));
            }
            Page::DataPageV2 { buf, rep_levels_byte_len, num_values, .. } => {
                (buf.get(..*rep_levels_byte_len as usize), *num_values)
            }
        };
        self.count_levels(levels.ok_or_else(cut)?, u64::from(values))
    }

    /// Counts `left` levels, or as many as there are.
    fn count_levels(&mut self, mut levels: &[u8], mut left: u64) -> Result<()> {
        while left > 0 {
            let Some(header) = varint(&mut levels) else { return Ok(()) };
            if header & 1 == 0 {
                let Some((value, rest)) = levels.split_at_checked(self.bits.div_ceil(8) as usize) else {
                    return Ok(());
                };
                let run = left.min(header >> 1);
                self.add(value.iter().all(|byte| *byte == 0), run)?;
                (levels, left) = (rest, left - run);
                continue;
            }
            let bytes = (header >> 1).saturating_mul(u64::from(self.bits));
            let (packed, rest) = levels.split_at(levels.len().min(usize::try_from(bytes).unwrap_or(usize::MAX)));
            let bits = self.bits as usize;
            let run = left.min((packed.len() * 8 / bits) as u64);
            for at in 0..run as usize {
                let is_zero = (at * bits..(at + 1) * bits).all(|bit| packed[bit / 8] >> (bit % 8) & 1 == 0);
                self.add(is_zero, 1)?;
            }
            (levels, left) = (rest, left - run);
        }
        Ok(())
    }

    /// Counts so many entries, each of which begins a row or goes on with it.
    fn add(&mut self, begins: bool, entries: u64) -> Result<()> {
        if begins && entries > 0 {
            self.row += entries;
            self.entries = 1;
            return Ok(());
        }
        self.entries += entries;
        if self.entries <= MOST_ENTRIES {
            return Ok(());
        }
        let problem =
            format!("has more than {MOST_ENTRIES} messages or parts of them, which no conversation has; leave it out");
        Err(ParquetError::External(Box::new(LongRow { row: self.row.max(1), problem })))
    }
}

/// A number of seven bits a byte, the lowest first.
fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0u64;
    for shift in (0..35).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(bits: u32) -> Rows {
        Rows { bits, row: 7, entries: 0 }
    }

    /// A run of `count` times `value`.
    fn run(count: u64, value: u8) -> Vec<u8> {
        let mut header = count << 1;
        let mut bytes = Vec::new();
        while header >= 0x80 {
            bytes.push(header as u8 | 0x80);
            header >>= 7;
        }
        bytes.extend([header as u8, value]);
        bytes
    }

    #[test]
    fn runs_and_packed_levels_are_counted() {
        let mut counted = rows(1);
        // Three rows, the last of which goes on five times.
        counted.count_levels(&[run(3, 0), run(5, 1)].concat(), 8).expect("short rows");
        assert_eq!(counted, Rows { bits: 1, row: 10, entries: 6 });
        // 0 1 1 0 0 1 1 1, of which six count.
        counted.count_levels(&[0b11, 0b1110_0110], 6).expect("short rows");
        assert_eq!(counted, Rows { bits: 1, row: 13, entries: 2 });
        // Two bits each: 0 2 1 0, then nothing that is read.
        let mut wide = rows(2);
        wide.count_levels(&[0b11, 0b0001_1000, 0xFF], 4).expect("short rows");
        assert_eq!(wide, Rows { bits: 2, row: 9, entries: 1 });
    }

    #[test]
    fn a_row_that_is_too_long_is_named() {
        let refused = |levels: &[u8]| match rows(1).count_levels(levels, u64::MAX) {
            Err(ParquetError::External(error)) => error.downcast_ref::<LongRow>().expect("a long row").row,
            other => panic!("{other:?}"),
        };
        assert_eq!(refused(&[run(1, 0), run(2, 0), run(MOST_ENTRIES, 1)].concat()), 10);
        let halves = [run(1, 0), run(MOST_ENTRIES / 2, 1), run(MOST_ENTRIES / 2, 1)].concat();
        assert_eq!(refused(&halves), 8, "in two runs");
        rows(1).count_levels(&[run(1, 0), run(MOST_ENTRIES - 1, 1)].concat(), u64::MAX).expect("just short enough");
        rows(1).count_levels(&run(u64::from(u32::MAX) >> 1, 0), u64::MAX).expect("many short rows");
    }
}
