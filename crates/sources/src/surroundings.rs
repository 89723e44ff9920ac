//! What finding things needs beside their names.

use untangle_model::{HubError, HubOptions};
use untangle_schema::{Event, Observer};

/// Where things are looked for, and who is told.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    /// Whether no hub is asked, whatever the environment says.
    pub offline: bool,
    /// Is told of what is found and how far a transfer is; may ask to stop.
    pub observer: &'a dyn Observer,
}

impl std::fmt::Debug for Surroundings<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Surroundings").field("offline", &self.offline).finish_non_exhaustive()
    }
}

impl Surroundings<'_> {
    /// How the hub is reached: what the environment says, as for Python's tools.
    ///
    /// # Errors
    /// When a setting of the environment cannot be read.
    pub fn hub(&self) -> Result<HubOptions, HubError> {
        let options = HubOptions::from_environment(|name| std::env::var_os(name))?;
        Ok(HubOptions { offline: options.offline || self.offline, ..options })
    }

    /// Says something that was decided.
    pub(crate) fn note(&self, text: &str) {
        self.observer.event(Event::Note(text));
    }

    /// Says something that the user probably wants to change.
    pub(crate) fn warning(&self, text: &str) {
        self.observer.event(Event::Warning(text));
    }
}
