//! How is a flipped bit noticed? By CRC-32 of every 1024 rows of a dataset.
//!
//! CRC-32 (ISO 3309, as in gzip and PNG: `zlib.crc32` of Python's standard library) finds every single flipped bit and
//! every burst of up to 32 bits for certain, and other damage but for one case in 2^32. It is no protection against
//! forgery. Rows are added in order and cut anywhere, and the state is one number, so a continued file gets the
//! checksums of an uninterrupted one.

use crc32fast::Hasher;

/// Rows per checksum.
pub(crate) const BLOCK_ROWS: u64 = 1024;

/// Number of checksums of `n` rows.
pub(crate) fn blocks(n: u64) -> u64 {
    n.div_ceil(BLOCK_ROWS)
}

/// CRC-32 of some bytes.
pub(crate) fn checksum(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes)
}

/// The checksum of the block of rows that is being written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Running {
    crc: u32,
}

impl Running {
    /// A block of which the rows so far have this checksum.
    pub(crate) fn resumed(crc: u32) -> Self {
        Running { crc }
    }

    /// The checksum of the block's rows so far.
    pub(crate) fn crc(self) -> u32 {
        self.crc
    }

    /// Adds rows that begin with row `first`; gives the checksums of the blocks that they complete.
    pub(crate) fn add(&mut self, first: u64, mut bytes: &[u8], row_bytes: usize) -> Vec<u32> {
        let mut complete = Vec::new();
        let mut left_in_block = (BLOCK_ROWS - first % BLOCK_ROWS) as usize * row_bytes;
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(left_in_block.min(bytes.len()));
            let mut hasher = Hasher::new_with_initial(self.crc);
            hasher.update(now);
            self.crc = hasher.finalize();
            if now.len() == left_in_block {
                complete.push(std::mem::take(&mut self.crc));
            }
            (bytes, left_in_block) = (later, BLOCK_ROWS as usize * row_bytes);
        }
        complete
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn it_is_the_crc_that_everybody_has() {
        assert_eq!(checksum(b"123456789"), 0xcbf4_3926, "the check value of CRC-32/ISO-HDLC");
    }

    proptest! {
        #[test]
        fn rows_may_come_in_any_pieces(cuts in prop::collection::vec(1usize..900, 1..9), row_bytes in 1usize..5) {
            let rows: usize = cuts.iter().sum();
            let bytes: Vec<u8> = (0..rows * row_bytes).map(|i| (i * 31 % 251) as u8).collect();
            let expected: Vec<u32> = bytes.chunks(BLOCK_ROWS as usize * row_bytes).map(checksum).collect();
            let (mut running, mut found, mut first) = (Running::default(), Vec::new(), 0);
            for cut in cuts {
                running = Running::resumed(running.crc());
                let piece = &bytes[first * row_bytes..(first + cut) * row_bytes];
                found.extend(running.add(first as u64, piece, row_bytes));
                first += cut;
            }
            if !rows.is_multiple_of(BLOCK_ROWS as usize) {
                found.push(running.crc());
            }
            prop_assert_eq!(found, expected);
        }
    }
}
