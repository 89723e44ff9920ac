//! What a format has to say of itself to be read and written.

use super::file;
use crate::description::Description;
use crate::error::SaeError;
use crate::parts::Parts;
use serde_json::Value;
use std::path::Path;
use untangle_schema::sae::files;

/// A format in which dictionaries lie on disk: the constant of a file each, in the table of [`super::table`].
pub(super) struct Format {
    /// Its name, under which [`Kept`](crate::description::Kept) remembers where it comes from.
    pub(super) name: &'static str,
    /// The file without which a folder holds none of this format.
    pub(super) marker: &'static str,
    /// Whether a folder that has the marker is of this format and not of another one with the same.
    pub(super) sniff: fn(&Folder<'_>) -> bool,
    /// Whether its dictionaries read several activations at once, as crosscoders do.
    pub(super) of_several: bool,
    /// Reads a folder that is of this format.
    pub(super) read: fn(Folder<'_>) -> Result<Found, SaeError>,
    /// Writes into a folder that is there; none of formats that are only read.
    pub(super) write: Option<Write>,
}

/// See [`Format::write`].
pub(super) type Write = fn(&Description, &Parts, &Path) -> Result<(), SaeError>;

/// A folder that may hold a dictionary.
pub(super) struct Folder<'a> {
    pub(super) dir: &'a Path,
    /// What its `cfg.json` says; nothing where there is none.
    pub(super) config: Value,
}

impl<'a> Folder<'a> {
    /// Looks into a folder.
    ///
    /// # Errors
    /// When its `cfg.json` cannot be read.
    pub(super) fn open(dir: &'a Path) -> Result<Self, SaeError> {
        let path = dir.join(files::CONFIG);
        let config = if path.exists() { file::json(&path)? } else { Value::Null };
        Ok(Folder { dir, config })
    }
}

/// A dictionary as a format read it.
pub(super) struct Found {
    pub(super) description: Description,
    pub(super) parts: Parts,
    /// What its files say and is not used, or used in a way that users should know; a sentence each.
    pub(super) notes: Vec<String>,
}
