//! Are the files that a run goes on with those that it was begun with?
//!
//! The system's marks of a file (device, number, size, times) tell that nothing was written to it: the time of change
//! cannot be set by programs, so an edit that restores size and modification time is noticed as well. Where they differ,
//! as after a copy or a restored backup, the content decides. A matrix is summed up whole when a run begins, which takes one
//! sequential reading of it. An activation file has checksums of its own: those are summed up at
//! the beginning, and when marks differ later, every row is read and held against them.

use crate::error::StoreError;
use crate::examine::examine;
use crate::formats::{self, Shard};
use crate::set::ActivationSet;
use crate::sums::sum;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use untangle_schema::{Event, Fault, Observer, Unit};

impl ActivationSet {
    /// What the files of the store are, to be kept by a run that another may continue; `known` is what an earlier run
    /// kept. None where that was a run on other files.
    ///
    /// # Errors
    /// [`StoreError::Refused`] where a file is no longer what it was; when reading fails;
    /// [`StoreError::Interrupted`].
    pub fn recognise(&self, known: Option<&Value>, observer: &dyn Observer) -> Result<Value, StoreError> {
        let shards: Vec<&Shard> = self.all_shards();
        let before = known.and_then(Value::as_array).filter(|known| known.len() == shards.len());
        let one = |(at, shard): (usize, &&Shard)| recognise(shard, before.map(|known| &known[at]), observer);
        shards.iter().enumerate().map(one).collect::<Result<Vec<_>, _>>().map(Value::Array)
    }
}

fn recognise(shard: &Shard, known: Option<&Value>, observer: &dyn Observer) -> Result<Value, StoreError> {
    let name = shard.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let marks = marks(&shard.path)?;
    let known = known.filter(|known| known["name"] == json!(name) && known["column"] == json!(shard.columns[0].name));
    if let Some(known) = known.filter(|known| known["marks"] == marks) {
        return Ok(known.clone());
    }
    let content = match &shard.captured {
        Some(_) => json!(formats::sum_of_checksums(&shard.path)?),
        None => json!(sum(&shard.columns[0], observer)?),
    };
    if let Some(known) = known
        && (known["content"] != content || (shard.captured.is_some() && !is_sound(&shard.path, observer)?))
    {
        let problem =
            "was changed after the unfinished run was begun that would go on with it; put it back as it was, or \
                       pass --force to begin anew"
                .to_owned();
        return Err(StoreError::Refused { path: shard.path.clone(), problem, fault: Fault::BadInput });
    }
    Ok(json!({ "name": name, "column": shard.columns[0].name, "marks": marks, "content": content }))
}

/// What the system knows of a file. It changes with every write, and with much else that changes nothing.
fn marks(path: &Path) -> Result<Value, StoreError> {
    let about = fs::metadata(path).map_err(StoreError::io(path))?;
    let times = [about.mtime(), about.mtime_nsec(), about.ctime(), about.ctime_nsec()];
    Ok(json!({ "device": about.dev(), "number": about.ino(), "bytes": about.size(), "times": times }))
}

/// Every row of an activation file, held against its checksums.
fn is_sound(path: &Path, observer: &dyn Observer) -> Result<bool, StoreError> {
    let mut begun = false;
    let mut tell = |done, total| {
        if !std::mem::replace(&mut begun, true) {
            observer.event(Event::Started { task: "check", unit: Unit::Bytes, done: 0, total });
        }
        observer.event(Event::Advanced { done, figures: &[] });
        !observer.interrupted()
    };
    let found = examine(path, Some(&mut tell))?.ok_or(StoreError::Interrupted)?;
    observer.event(Event::Finished);
    Ok(found.violations.is_empty())
}
