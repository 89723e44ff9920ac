//! The codes of rows that were read once, kept in a file for the examples, so that no row is encoded twice.
//!
//! Eight bytes an active feature: at an L0 of 32 a sixth of what the activations of a width of 768 take in a store. The file has no
//! name any more from the moment it is opened, so whatever ends the process removes it. Where it cannot be written, above all on a
//! full disk, nothing is kept, and rows are encoded again.

use std::fs::{File, OpenOptions, remove_file};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use untangle_sae::Codes;
use untangle_store::RowBlock;

/// Codes by row. Rows come in ascending order.
#[derive(Debug, Default)]
pub struct Kept {
    file: Option<File>,
    /// What was kept together, in the order of the rows.
    lots: Vec<Lot>,
    /// Bytes written.
    length: u64,
    loaded: Option<Loaded>,
}

/// Rows that were kept together: where they are, not what they are, because there is no end of them.
#[derive(Debug)]
struct Lot {
    last: u64,
    n_rows: usize,
    n_codes: usize,
    /// Place in the file: numbers of the rows, then where the codes of each row end, features, activations.
    place: u64,
}

/// The lot that was asked for last.
#[derive(Debug)]
struct Loaded {
    number: usize,
    rows: Vec<u64>,
    ends: Vec<u32>,
    features: Vec<u32>,
    activations: Vec<f32>,
}

impl Kept {
    /// Keeps codes in a file beside `path`; nowhere where none can be made.
    pub fn beside(path: &Path) -> Self {
        Self { file: unnamed(path).ok(), ..Self::default() }
    }

    /// Keeps the codes of a block.
    pub fn push(&mut self, block: &RowBlock, codes: &Codes) {
        let (Some(file), Some(last)) = (&self.file, block.rows.last()) else { return };
        let lot = Lot { last: *last, n_rows: block.len(), n_codes: codes.nnz(), place: self.length };
        let mut bytes = Vec::with_capacity(12 * lot.n_rows + 8 * lot.n_codes);
        block.rows.iter().for_each(|row| bytes.extend_from_slice(&row.to_ne_bytes()));
        codes.starts()[1..].iter().for_each(|end| bytes.extend_from_slice(&(*end as u32).to_ne_bytes()));
        codes.features().iter().for_each(|feature| bytes.extend_from_slice(&feature.to_ne_bytes()));
        codes.activations().iter().for_each(|value| bytes.extend_from_slice(&value.to_ne_bytes()));
        if file.write_all_at(&bytes, self.length).is_err() {
            // What is kept so far goes too: it may be what the disk lacks.
            *self = Self::default();
            return;
        }
        self.length += bytes.len() as u64;
        self.lots.push(lot);
    }

    /// The active features of a row with their activations; none of a row that was not kept.
    pub fn row(&mut self, row: u64) -> Option<(&[u32], &[f32])> {
        let number = self.lots.partition_point(|lot| lot.last < row);
        let lot = self.lots.get(number)?;
        if self.loaded.as_ref().is_none_or(|loaded| loaded.number != number) {
            self.loaded = Some(Loaded::read(self.file.as_ref()?, lot, number).ok()?);
        }
        let loaded = self.loaded.as_ref()?;
        let at = loaded.rows.binary_search(&row).ok()?;
        let start = at.checked_sub(1).map_or(0, |before| loaded.ends[before] as usize);
        let range = start..loaded.ends[at] as usize;
        Some((&loaded.features[range.clone()], &loaded.activations[range]))
    }
}

impl Loaded {
    fn read(file: &File, lot: &Lot, number: usize) -> io::Result<Self> {
        let mut bytes = vec![0; 12 * lot.n_rows + 8 * lot.n_codes];
        file.read_exact_at(&mut bytes, lot.place)?;
        let (rows, rest) = bytes.split_at(8 * lot.n_rows);
        let (ends, rest) = rest.split_at(4 * lot.n_rows);
        let (features, activations) = rest.split_at(4 * lot.n_codes);
        Ok(Self {
            number,
            rows: values(rows, u64::from_ne_bytes),
            ends: values(ends, u32::from_ne_bytes),
            features: values(features, u32::from_ne_bytes),
            activations: values(activations, f32::from_ne_bytes),
        })
    }
}

/// Values of N bytes each.
fn values<T, const N: usize>(bytes: &[u8], value: fn([u8; N]) -> T) -> Vec<T> {
    bytes.as_chunks().0.iter().map(|bytes| value(*bytes)).collect()
}

/// A new file beside `path` that no folder lists.
fn unnamed(path: &Path) -> io::Result<File> {
    let name = path.with_extension(format!("codes.{}", std::process::id()));
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(&name)?;
    remove_file(&name)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(rows: &[u64]) -> RowBlock {
        RowBlock { rows: rows.to_vec(), ..RowBlock::default() }
    }

    fn codes(rows: &[&[(u32, f32)]]) -> Codes {
        let mut codes = Codes::new();
        rows.iter().for_each(|row| codes.push_row(row.iter().copied()));
        codes
    }

    #[test]
    fn rows_come_back_and_the_file_has_no_name() {
        let dir = tempfile::tempdir().expect("dir");
        let mut kept = Kept::beside(&dir.path().join("features.db"));
        assert_eq!(std::fs::read_dir(dir.path()).expect("dir").count(), 0);
        kept.push(&block(&[0, 2, 3]), &codes(&[&[(1, 0.5), (7, 2.0)], &[], &[(4, 1.5)]]));
        kept.push(&block(&[9]), &codes(&[&[(0, 4.0)]]));
        assert_eq!(kept.row(0), Some((&[1, 7][..], &[0.5, 2.0][..])));
        assert_eq!(kept.row(9), Some((&[0][..], &[4.0][..])));
        assert_eq!(kept.row(2), Some((&[][..], &[][..])), "a row on which nothing fires");
        assert_eq!(kept.row(1), None);
        assert_eq!(kept.row(10), None);
    }

    #[test]
    fn nothing_is_kept_where_no_file_can_be_made() {
        let mut kept = Kept::beside(Path::new("/nowhere/at/all/features.db"));
        kept.push(&block(&[0]), &codes(&[&[(1, 0.5)]]));
        assert_eq!(kept.row(0), None);
    }
}
