//! How a running engine reports, and how it is asked to stop. Libraries report; the command line draws.

/// What a progress count counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Tokens of text, which are rows of activations.
    Tokens,
    /// Optimiser steps.
    Steps,
    /// Bytes.
    Bytes,
    /// Rows of a store that are encoded or measured.
    Rows,
    /// Examples that are shown of features.
    Examples,
    /// Documents of a text.
    Documents,
    /// Features of a dictionary.
    Features,
}

/// Something that happened in a running engine.
#[derive(Clone, Debug)]
pub enum Event<'a> {
    /// A task begins; `done` of `total` were finished by an earlier, interrupted run.
    Started {
        /// Name of the task, a verb: `capture`, `train`.
        task: &'a str,
        /// What is counted.
        unit: Unit,
        /// Already finished at the start.
        done: u64,
        /// Finished when the task is.
        total: u64,
    },
    /// `done` of the task's total are finished.
    Advanced {
        /// Finished so far.
        done: u64,
        /// Figures worth showing beside the bar, as name and value.
        figures: &'a [(&'a str, f64)],
    },
    /// `done` of the task's total are finished by several at once, which are compared.
    Compared {
        /// Finished so far.
        done: u64,
        /// Where each stands.
        points: &'a [Compared<'a>],
    },
    /// The task is finished.
    Finished,
    /// Something that the run decided and the user should know.
    Note(&'a str),
    /// Something that the user probably wants to change.
    Warning(&'a str),
}

/// Where one of several dictionaries in training stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Compared<'a> {
    /// Its name.
    pub name: &'a str,
    /// Active features per row.
    pub l0: f64,
    /// Fraction of variance unexplained.
    pub fvu: f64,
    /// Whether no other has both fewer active features and a smaller error.
    pub best: bool,
}

/// Receives the events of an engine and may ask it to stop.
pub trait Observer: Sync {
    /// Called on the engine's own thread; should return soon.
    fn event(&self, event: Event<'_>);

    /// Whether the user asked to stop. Engines look at every batch or step, save what they have and return their
    /// `Interrupted` error.
    fn interrupted(&self) -> bool {
        false
    }
}

/// An observer that ignores everything.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {
    fn event(&self, _: Event<'_>) {}
}
