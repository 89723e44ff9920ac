//! Do several files belong together, and in which order are they one store?

use crate::differences::differences;
use crate::error::StoreError;
use crate::formats::{Captured, Shard};
use crate::place::Place;
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;
use untangle_schema::{CaptureManifest, ShardId};

/// Refuses files that are named twice, under whatever names.
pub(crate) fn refuse_repetitions(places: &[Place]) -> Result<(), StoreError> {
    let mut seen: Vec<(PathBuf, Option<&str>)> = Vec::new();
    for place in places {
        let real = fs::canonicalize(&place.path).map_err(StoreError::io(&place.path))?;
        let this = (real, place.object.as_deref());
        if seen.contains(&this) {
            return Err(StoreError::NamedTwice { path: place.path.clone() });
        }
        seen.push(this);
    }
    Ok(())
}

/// Checks that files belong together, and puts the shards of one capture into their order, so that the order in which
/// they were named does not matter. Other files stay as they were named.
///
/// # Errors
/// [`StoreError::ShardMismatch`], [`StoreError::ShardTwice`] or [`StoreError::ShardsMissing`].
pub(crate) fn joined(mut shards: Vec<Shard>) -> Result<Vec<Shard>, StoreError> {
    let Some(first) = shards.first() else { return Err(StoreError::NothingNamed) };
    shards[1..].iter().try_for_each(|shard| belongs(first, shard))?;
    let Some(of) = shard_id(first).map(|shard| shard.of).filter(|_| shards.len() > 1) else { return Ok(shards) };
    shards.sort_by_key(shard_id);
    if let Some([first, again]) = shards.windows(2).find(|pair| shard_id(&pair[0]) == shard_id(&pair[1])) {
        let (path, first) = (again.path.clone(), first.path.clone());
        let shard = shard_id(again).map(|id| id.to_string()).unwrap_or_default();
        return Err(StoreError::ShardTwice { path, first, shard });
    }
    if shards.len() < of as usize {
        let here = |index: &u32| shards.iter().any(|shard| shard_id(shard).is_some_and(|id| id.index == *index));
        let missing = (1..=of).filter(|index| !here(index)).map(|index| ShardId { index, of }.to_string()).collect();
        return Err(StoreError::ShardsMissing { path: shards[0].path.clone(), missing });
    }
    Ok(shards)
}

/// Which part of a capture a file is, where it is one.
pub(crate) fn shard_id(shard: &Shard) -> Option<ShardId> {
    shard.captured.as_ref()?.manifest.shard
}

/// Number of a shard's document in the store: dealt as they were to all shards of a capture, else one file's after
/// those of the one before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Documents {
    first: u64,
    step: u64,
}

impl Documents {
    /// The numbering of every one of `shards`, which are [`joined`].
    pub(crate) fn of(shards: &[Shard]) -> Vec<Documents> {
        let mut next = 0;
        let numbering = |shard: &Shard| match shard_id(shard) {
            Some(id) if shards.len() > 1 => Documents { first: id.document(0), step: u64::from(id.of) },
            _ => {
                let first = next;
                next += shard.captured.as_ref().map_or(0, |captured| captured.manifest.n_documents);
                Documents { first, step: 1 }
            }
        };
        shards.iter().map(numbering).collect()
    }

    /// The number in the store of a document of the shard.
    pub(crate) fn number(self, own: u32) -> u32 {
        self.first.wrapping_add(self.step.wrapping_mul(u64::from(own))) as u32
    }
}

/// The first manifest, with the rows, documents and corpus of all.
pub(crate) fn joined_manifest(shards: &[Shard]) -> Option<CaptureManifest> {
    let mut manifests = shards.iter().map(|shard| shard.captured.as_ref().map(|captured| &captured.manifest));
    let mut joined = manifests.next()??.clone();
    for other in manifests {
        let other = other?;
        joined.n_rows += other.n_rows;
        joined.n_documents += other.n_documents;
        if joined.shard.is_none() {
            joined.corpus.extend(other.corpus.iter().cloned());
        } else if other.corpus.len() > joined.corpus.len() {
            // A shard that reached its number of tokens early did not come to the last files.
            joined.corpus.clone_from(&other.corpus);
        }
    }
    if shards.len() > 1 {
        joined.shard = None;
    }
    Some(joined)
}

/// Whether `shard` continues `first`: same captures of another part of a corpus, or matrices of one width and type.
fn belongs(first: &Shard, shard: &Shard) -> Result<(), StoreError> {
    let mismatch =
        |field: String| Err(StoreError::ShardMismatch { path: shard.path.clone(), first: first.path.clone(), field });
    if let Some(difference) = differences(&essence(first), &essence(shard)).into_iter().next() {
        return mismatch(difference.field);
    }
    let (Some(a), Some(b)) = (&first.captured, &shard.captured) else { return Ok(()) };
    let same = a.manifest.corpus.iter().zip(&b.manifest.corpus).all(|(a, b)| a == b);
    if a.manifest.shard.is_some() && !same { mismatch("corpus".to_owned()) } else { Ok(()) }
}

/// What has to be equal in files that are read as one.
fn essence(shard: &Shard) -> Value {
    let Some(Captured { manifest, .. }) = &shard.captured else {
        let column = &shard.columns[0];
        return json!({"d": column.d, "dtype": column.dtype});
    };
    json!({
        "model": manifest.model, "hooks": manifest.hooks, "context": manifest.context, "pad": manifest.pad,
        "bos": manifest.bos, "bos_token": manifest.bos_token, "compute_dtype": manifest.compute_dtype,
        "store_dtype": manifest.store_dtype, "chat_template_sha256": manifest.chat_template_sha256,
        "shards": manifest.shard.map(|shard| shard.of),
    })
}
