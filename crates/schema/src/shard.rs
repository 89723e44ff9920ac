//! Which part of a capture does a job of an array make?

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// One of several parts that together are a whole: `2/8` is the second of eight.
///
/// Documents are dealt like cards: document `d` of the corpus, from 0, belongs to part `d % of + 1`.
///
/// ```
/// use untangle_schema::ShardId;
/// let second: ShardId = "2/8".parse().unwrap();
/// assert!(second.takes(1) && second.takes(9) && !second.takes(2));
/// assert_eq!(second.document(1), 9);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ShardId {
    /// Number of the part, from 1.
    pub index: u32,
    /// Number of parts.
    pub of: u32,
}

impl ShardId {
    /// Whether document `document` of the corpus belongs to this part.
    pub fn takes(self, document: u64) -> bool {
        document % u64::from(self.of.max(1)) + 1 == u64::from(self.index)
    }

    /// Number in the corpus of this part's document `own`.
    pub fn document(self, own: u64) -> u64 {
        own.saturating_mul(u64::from(self.of)).saturating_add(u64::from(self.index.saturating_sub(1)))
    }

    /// This part's share of `total`; the shares of all parts add up to it, and differ by at most one.
    pub fn share(self, total: u64) -> u64 {
        let of = u64::from(self.of.max(1));
        total / of + u64::from(u64::from(self.index.saturating_sub(1)) < total % of)
    }
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}

/// Text that names no part.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no part: write I/N, from 1/N to N/N")]
pub struct NoShard(String);

impl FromStr for ShardId {
    type Err = NoShard;

    fn from_str(text: &str) -> Result<Self, NoShard> {
        let parsed = text.split_once('/').and_then(|(index, of)| Some((index.parse().ok()?, of.parse().ok()?)));
        match parsed {
            Some((index, of)) if (1..=of).contains(&index) => Ok(ShardId { index, of }),
            _ => Err(NoShard(text.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_document_belongs_to_one_part_and_keeps_its_number() {
        for of in 1..9u32 {
            let mut own = vec![0u64; of as usize];
            for document in 0..50 {
                let takers: Vec<ShardId> =
                    (1..=of).map(|index| ShardId { index, of }).filter(|shard| shard.takes(document)).collect();
                let [taker] = takers[..] else { panic!("{takers:?} take document {document}") };
                let count = &mut own[taker.index as usize - 1];
                assert_eq!(taker.document(*count), document);
                *count += 1;
            }
            let shares: Vec<u64> = (1..=of).map(|index| ShardId { index, of }.share(50)).collect();
            assert_eq!(shares, own);
        }
    }

    #[test]
    fn parts_are_written_as_fractions_from_one() {
        assert_eq!("3/3".parse(), Ok(ShardId { index: 3, of: 3 }));
        assert_eq!(ShardId { index: 1, of: 4 }.to_string(), "1/4");
        for text in ["", "1", "0/4", "5/4", "1/0", "a/4", "1/4/2", "-1/4", "1/ 4"] {
            assert_eq!(text.parse::<ShardId>(), Err(NoShard(text.to_owned())), "{text}");
        }
    }
}
