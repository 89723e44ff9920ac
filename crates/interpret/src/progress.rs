//! How the engines of this crate report, and notice that they are to stop.

use crate::error::InterpretError;
use untangle_schema::{Event, Observer, Unit};

/// One task under way.
pub struct Progress<'a> {
    observer: &'a dyn Observer,
    done: u64,
}

impl std::fmt::Debug for Progress<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Progress").field("done", &self.done).finish_non_exhaustive()
    }
}

impl<'a> Progress<'a> {
    /// Announces a task of `total` times `unit`.
    pub fn start(observer: &'a dyn Observer, task: &str, unit: Unit, total: u64) -> Self {
        observer.event(Event::Started { task, unit, done: 0, total });
        Self { observer, done: 0 }
    }

    /// `n` more are done.
    ///
    /// # Errors
    /// [`InterpretError::Interrupted`] where the user asked to stop.
    pub fn advance(&mut self, n: u64) -> Result<(), InterpretError> {
        self.done += n;
        self.observer.event(Event::Advanced { done: self.done, figures: &[] });
        if self.observer.interrupted() { Err(InterpretError::Interrupted) } else { Ok(()) }
    }

    /// The task is finished.
    pub fn finish(self) {
        self.observer.event(Event::Finished);
    }
}
