//! Is an unfinished activation file continued, or is a new one laid out and its space reserved?

use crate::durable;
use crate::error::StoreError;
use crate::journal::Journal;
use crate::layout::{self, Layout};
use crate::partial::Partial;
use crate::resumed;
use crate::sys;
use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::Path;
use untangle_schema::{CaptureManifest, Classify, Fault};

/// The journal to go on from: that of an unfinished file with this manifest, or of a new file. Where the disk cannot
/// hold it, nothing of what was prepared stays: it would be in the way of a smaller one.
pub(crate) fn begin_or_resume(
    partial: &Partial,
    journal: &Path,
    manifest: CaptureManifest,
) -> Result<Journal, StoreError> {
    match resumable(partial, journal, &manifest)? {
        Some(journal) => Ok(journal),
        None => begin(partial, journal, manifest),
    }
}

/// The journal of an unfinished file with this manifest; none where a new file is to be begun.
fn resumable(partial: &Partial, journal: &Path, manifest: &CaptureManifest) -> Result<Option<Journal>, StoreError> {
    if !partial.data().try_exists().map_err(StoreError::io(partial.data()))? {
        return Ok(None);
    }
    let journal = match Journal::load(journal, partial.data()) {
        Err(StoreError::JournalDamaged { .. }) if partial.force() => return Ok(None),
        loaded => loaded?,
    };
    let Some(journal) = journal else { return Ok(None) };
    let differences = crate::differences(&as_json(&journal.manifest), &as_json(manifest));
    match (differences.is_empty(), partial.force()) {
        (true, force) => match resumed::check(partial.data(), &journal) {
            Err(error) if force && error.fault() == Fault::BadInput => Ok(None),
            checked => checked.map(|()| Some(journal)),
        },
        (false, true) => Ok(None),
        (false, false) => Err(StoreError::OtherSettings { partial: partial.data().to_owned(), differences }),
    }
}

fn as_json(manifest: &CaptureManifest) -> serde_json::Value {
    serde_json::to_value(manifest).expect("a manifest has string keys and finite numbers")
}

/// Lays out a new file, reserves its space, writes its manifest, and then its first journal.
fn begin(partial: &Partial, journal_path: &Path, manifest: CaptureManifest) -> Result<Journal, StoreError> {
    let path = partial.data();
    durable::remove(journal_path)?;
    durable::remove(path)?;
    let json = serde_json::to_string(&manifest).expect("a manifest has string keys and finite numbers");
    let needed = layout::file_bytes(&manifest, json.len());
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let available = sys::available(folder).map_err(StoreError::io(folder))?;
    if available < needed {
        return Err(StoreError::DiskFull { path: partial.output().to_owned(), needed, available });
    }
    let begun = lay_out(partial, &manifest, &json);
    if begun.is_err() {
        // Half a layout helps nobody, and on a full disk it is in the way.
        durable::remove(path)?;
    }
    begun?;
    let frame = resumed::frame_of(path, &manifest)?;
    let journal = Journal::new(manifest, frame);
    journal.save(journal_path)?;
    Ok(journal)
}

fn lay_out(partial: &Partial, manifest: &CaptureManifest, json: &str) -> Result<(), StoreError> {
    let path = partial.data();
    layout::create(path, manifest, json.len(), None)?;
    let located = Layout::locate(&layout::open(path)?, path, manifest)?;
    let file = OpenOptions::new().write(true).open(path).map_err(StoreError::io(path))?;
    let size = file.metadata().map_err(StoreError::io(path))?.len();
    match sys::reserve(&file, size) {
        Err(error) if error.kind() == ErrorKind::Unsupported => {}
        reserved => reserved.map_err(|error| space_or_io(partial.output(), size, error))?,
    }
    let offset = located.extent(layout::MANIFEST).offset;
    file.write_all_at(json.as_bytes(), offset).map_err(|error| space_or_io(partial.output(), size, error))?;
    file.sync_all().map_err(StoreError::io(path))?;
    durable::sync_folder(path)
}

/// An error of writing `path`, which needs `needed` bytes more.
pub(crate) fn space_or_io(path: &Path, needed: u64, error: std::io::Error) -> StoreError {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            let available = sys::available(folder).unwrap_or(0);
            StoreError::DiskFull { path: path.to_owned(), needed, available }
        }
        _ => StoreError::Io { path: path.to_owned(), source: error },
    }
}
