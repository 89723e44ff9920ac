//! Numbers that nobody can foresee: names of answers, and seeds where none are given.

use std::hash::{BuildHasher, RandomState};
use std::time::{SystemTime, UNIX_EPOCH};

/// A number.
pub(crate) fn random() -> u64 {
    // Every state has keys that are drawn from the system's source, or follow from these.
    RandomState::new().hash_one(0u8)
}

/// A name with this beginning.
pub(crate) fn name(beginning: &str) -> String {
    format!("{beginning}-{:016x}{:08x}", random(), random() as u32)
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
