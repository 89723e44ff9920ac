//! How are rows read of a matrix whose numbers lie in another form, or in another order, than rows are handed out in?
//!
//! Doubles are rounded to f32, which everything computes in; the most significant byte may come first; and the elements of
//! a column may follow each other, as Fortran has them. Nothing is ever in memory but the rows that are asked for.

use crate::error::StoreError;
use half::f16;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use untangle_schema::numpy::Float;

/// Which elements follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Those of a row.
    Rows,
    /// Those of a column.
    Columns,
}

/// Elements of a form of their own, one after the other.
#[derive(Clone, Debug)]
pub(crate) struct Foreign {
    pub(crate) file: Arc<File>,
    /// Where the first one lies.
    pub(crate) offset: u64,
    pub(crate) float: Float,
    pub(crate) order: Order,
}

/// Bytes that are read before they are converted; chosen to stay in the second cache.
const PIECE: usize = 1 << 18;
/// The same of columns, of which each gives a run of its own.
const PIECE_OF_COLUMNS: usize = 8 << 20;
/// Fewest rows that a run of a column has, so that a read gives more than a few bytes; and rows that are best read together.
const FEWEST_ROWS: usize = 16;
pub(crate) const ROWS_TOGETHER: usize = 1024;

impl Foreign {
    /// Reads `rows` of a matrix of `n` by `d` into `out`, the bytes of its rows as they are handed out.
    pub(crate) fn read(
        &self,
        path: &Path,
        size: (u64, usize),
        rows: Range<u64>,
        out: &mut [u8],
    ) -> Result<(), StoreError> {
        let done = match self.order {
            Order::Rows => self.read_rows(size.1, rows, out),
            Order::Columns => self.read_columns(size, rows, out),
        };
        done.map_err(StoreError::io(path))
    }

    fn read_rows(&self, d: usize, rows: Range<u64>, out: &mut [u8]) -> std::io::Result<()> {
        let (from, to) = (self.float.bytes, self.given_bytes());
        let mut raw = vec![0; PIECE.min((rows.end - rows.start) as usize * d * from)];
        let mut at = self.offset + rows.start * (d * from) as u64;
        for out in out.chunks_mut(PIECE / from * to) {
            let raw = &mut raw[..out.len() / to * from];
            self.file.read_exact_at(raw, at)?;
            self.convert(raw, out);
            at += raw.len() as u64;
        }
        Ok(())
    }

    /// A run of every column, turned in tiles that fit into the first cache.
    fn read_columns(&self, (n, d): (u64, usize), rows: Range<u64>, out: &mut [u8]) -> std::io::Result<()> {
        let (from, to) = (self.float.bytes, self.given_bytes());
        let at_once = (PIECE_OF_COLUMNS / (d * from)).clamp(FEWEST_ROWS, ROWS_TOGETHER);
        let (mut raw, mut run) = (vec![0; at_once * from], vec![0; at_once * d * to]);
        for (index, out) in out.chunks_mut(at_once * d * to).enumerate() {
            let (first, taken) = (rows.start + (index * at_once) as u64, out.len() / (d * to));
            for column in 0..d {
                let raw = &mut raw[..taken * from];
                self.file.read_exact_at(raw, self.offset + (column as u64 * n + first) * from as u64)?;
                self.convert(raw, &mut run[column * taken * to..(column + 1) * taken * to]);
            }
            for tile in (0..taken).step_by(FEWEST_ROWS) {
                for column in 0..d {
                    for row in tile..taken.min(tile + FEWEST_ROWS) {
                        let (given, place) = ((column * taken + row) * to, (row * d + column) * to);
                        out[place..place + to].copy_from_slice(&run[given..given + to]);
                    }
                }
            }
        }
        Ok(())
    }

    /// Bytes of an element as it is handed out: doubles become f32.
    fn given_bytes(&self) -> usize {
        self.float.bytes.min(4)
    }

    /// Elements as they are handed out, of elements as they lie in the file.
    fn convert(&self, raw: &[u8], out: &mut [u8]) {
        let big = self.float.big_endian;
        match self.float.bytes {
            8 => each(raw, out, |bytes| {
                let value = if big { f64::from_be_bytes(bytes) } else { f64::from_le_bytes(bytes) };
                (value as f32).to_le_bytes()
            }),
            4 => each(raw, out, |bytes| {
                if big { f32::from_be_bytes(bytes) } else { f32::from_le_bytes(bytes) }.to_le_bytes()
            }),
            _ => each(raw, out, |bytes| {
                if big { f16::from_be_bytes(bytes) } else { f16::from_le_bytes(bytes) }.to_le_bytes()
            }),
        }
    }
}

fn each<const N: usize, const M: usize>(raw: &[u8], out: &mut [u8], given: impl Fn([u8; N]) -> [u8; M]) {
    let pairs = raw.as_chunks::<N>().0.iter().zip(out.as_chunks_mut::<M>().0);
    pairs.for_each(|(raw, out)| *out = given(*raw));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Element `(row, column)` of the matrix of the test.
    fn value(row: u64, column: usize) -> f64 {
        f64::from((row * 31 + column as u64 * 7) as u32 % 1000) / 8.0
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn rows_are_the_same_in_whatever_form_they_lie(
            n in 1u64..60, d in 1usize..20, from in 0u64..60, length in 1u64..60, kind in 0usize..3, big in 0..2, fortran in 0..2
        ) {
            let float = Float { bytes: [2, 4, 8][kind], big_endian: big == 1 };
            let order = if fortran == 1 { Order::Columns } else { Order::Rows };
            let bytes = |value: f64| {
                let mut bytes = match float.bytes {
                    8 => value.to_le_bytes().to_vec(),
                    4 => (value as f32).to_le_bytes().to_vec(),
                    _ => f16::from_f64(value).to_le_bytes().to_vec(),
                };
                if float.big_endian { bytes.reverse() }
                bytes
            };
            let mut content = vec![9; 3];
            for outer in 0..(if fortran == 1 { d as u64 } else { n }) {
                for inner in 0..(if fortran == 1 { n } else { d as u64 }) {
                    let (row, column) = if fortran == 1 { (inner, outer as usize) } else { (outer, inner as usize) };
                    content.extend(bytes(value(row, column)));
                }
            }
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join("x");
            std::fs::write(&path, content).expect("written");
            let file = Arc::new(File::open(&path).expect("open"));
            let rows = from % n..(from % n + length).min(n);
            let foreign = Foreign { file, offset: 3, float, order };
            let size = if float.bytes == 2 { 2 } else { 4 };
            let mut out = vec![0; (rows.end - rows.start) as usize * d * size];
            foreign.read(&path, (n, d), rows.clone(), &mut out).expect("read");
            let mut found = out.chunks(size);
            for row in rows {
                for column in 0..d {
                    let bytes = found.next().expect("an element");
                    let right = value(row, column) as f32;
                    let same = match size {
                        2 => bytes == f16::from_f32(right).to_le_bytes(),
                        _ => bytes == right.to_le_bytes(),
                    };
                    prop_assert!(same, "{} {}", row, column);
                }
            }
        }
    }
}
