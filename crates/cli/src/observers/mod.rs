//! Which observer shows the progress of a run, and how a signal reaches the engine.

mod bars;
mod front;
mod lines;
mod rate;
mod signals;

use crate::exit::Complaint;
use crate::terminal::say;
use bars::Bars;
use lines::Lines;
use std::io::{self, IsTerminal};
use untangle_schema::{Event, Observer};

pub(crate) use signals::Interrupt;

/// Draws on stderr: bars on a terminal, plain lines elsewhere, warnings alone when quiet.
pub(crate) struct Progress {
    display: Display,
    interrupt: Interrupt,
}

enum Display {
    Bars(Bars),
    Lines(Lines),
    Quiet,
}

impl Progress {
    /// The display that fits stderr.
    pub(crate) fn new(quiet: bool, interrupt: Interrupt) -> Self {
        let display = match (quiet, io::stderr().is_terminal()) {
            (true, _) => Display::Quiet,
            (false, true) => Display::Bars(Bars::default()),
            (false, false) => Display::Lines(Lines::default()),
        };
        Progress { display, interrupt }
    }

    /// Says whether a signal has arrived, for work that is not given this.
    pub(crate) fn stop(&self) -> impl FnMut() -> bool + Send + 'static {
        let interrupt = self.interrupt.clone();
        move || interrupt.requested()
    }

    /// Something that was decided and the user should know.
    pub(crate) fn note(&self, text: &str) {
        self.event(Event::Note(text));
    }

    /// Does work that no output depends on yet and that cannot be asked to stop: a signal ends the process meanwhile.
    ///
    /// # Errors
    /// One has arrived before.
    pub(crate) fn with_nothing_to_save<T>(&self, work: impl FnOnce() -> T) -> anyhow::Result<T> {
        let done = self.interrupt.with_nothing_to_save(work);
        done.ok_or_else(|| Complaint::interrupted("interrupted before anything was begun".to_owned()))
    }

    /// Something that the user probably wants to change.
    pub(crate) fn warning(&self, text: &str) {
        self.event(Event::Warning(text));
    }
}

impl Observer for Progress {
    fn event(&self, event: Event<'_>) {
        match (&self.display, event) {
            (Display::Bars(bars), event) => bars.event(event),
            (Display::Lines(lines), event) => lines.event(event),
            (Display::Quiet, Event::Warning(text)) => say(&format!("warning: {text}")),
            (Display::Quiet, _) => {}
        }
    }

    fn interrupted(&self) -> bool {
        self.interrupt.requested()
    }
}
