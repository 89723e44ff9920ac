//! How much may a template do?
//!
//! It comes with a model and is a program. Each rendering has so many steps, so many bytes and so many levels; what it
//! does is counted, deterministically, so that the same conversation is refused on every machine or on none.

use std::cell::Cell;
use untangle_schema::Observer;

/// Chosen: evaluated expressions, statements and visited elements; about a second's work. Real templates take some
/// hundred for each message.
const STEPS: u64 = 10_000_000;
/// Chosen: steps more for each value of the conversation.
const STEPS_PER_VALUE: u64 = 2_000;
/// Chosen: of all texts and lists that one rendering makes, whether or not they are still held; 256 MiB.
const BYTES: u64 = 256 << 20;
/// Chosen: bytes more for each of the conversation's; a template copies a text a few dozen times.
const BYTES_PER_BYTE: u64 = 64;
/// Measured: bytes that a value of the conversation takes itself, with room.
const BYTES_PER_VALUE: u64 = 1_024;
/// Measured: comparing and copying this many bytes takes as long as a step.
const BYTES_PER_STEP: u64 = 64;
/// Measured: asking of which class the characters of this many bytes are takes as long as a step.
const CHARACTER_BYTES_PER_STEP: u64 = 8;
/// Chosen: steps after which it is asked whether to go on; some milliseconds.
const STEPS_PER_LOOK: u64 = 1 << 16;
/// Chosen: calls, blocks and expressions inside each other. Python gives up at a third of it.
const LEVELS: u32 = 1_000;
/// Chosen: lists in lists; as Python's own limit of recursion.
pub(super) const NESTING: u16 = 900;

/// Why a template could not be read or rendered.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Failure {
    pub(crate) message: String,
    /// Of the template; none where the template itself says the message.
    pub(crate) line: Option<u32>,
    pub(crate) cause: Cause,
}

/// What is to blame for a failure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Cause {
    /// The template, or what it was given.
    Template,
    /// The template, which raised it.
    Raised,
    /// Whoever asked to stop.
    Interrupted,
    /// The system, which gave no thread.
    System(std::io::ErrorKind),
}

impl Failure {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Failure { message: message.into(), line: None, cause: Cause::Template }
    }

    /// What a template calls to refuse a conversation.
    pub(super) fn raised(message: String) -> Self {
        Failure { message, line: None, cause: Cause::Raised }
    }

    /// Says where, unless that was said.
    pub(super) fn at(mut self, line: u32) -> Self {
        if self.cause == Cause::Template && self.line.is_none() {
            self.line = Some(line);
        }
        self
    }
}

pub(super) type Result<T> = std::result::Result<T, Failure>;

/// What is left to one rendering.
pub(super) struct Budget<'a> {
    observer: &'a dyn Observer,
    steps: Cell<u64>,
    bytes: Cell<u64>,
    level: Cell<u32>,
}

impl<'a> Budget<'a> {
    /// For a conversation of so many values and bytes, for as long as the observer lets it go on.
    pub(super) fn for_input(values: u64, bytes: u64, observer: &'a dyn Observer) -> Self {
        Budget {
            observer,
            steps: Cell::new(STEPS + STEPS_PER_VALUE * values),
            bytes: Cell::new(BYTES + BYTES_PER_BYTE * bytes + BYTES_PER_VALUE * values),
            level: Cell::new(0),
        }
    }

    /// Takes steps.
    pub(super) fn step(&self, count: u64) -> Result<()> {
        let before = self.steps.get();
        match before.checked_sub(count) {
            Some(left) => {
                self.steps.set(left);
                if left / STEPS_PER_LOOK < before / STEPS_PER_LOOK { self.look() } else { Ok(()) }
            }
            None => Err(Failure::new(format!(
                "more than the {STEPS} steps that one conversation may take: does the template loop without end?"
            ))),
        }
    }

    /// Whether somebody asked to stop.
    pub(super) fn look(&self) -> Result<()> {
        if self.observer.interrupted() {
            return Err(Failure { cause: Cause::Interrupted, ..Failure::new("interrupted") });
        }
        Ok(())
    }

    /// Takes the steps of looking at every character of a text.
    pub(super) fn look_through(&self, text: &str) -> Result<()> {
        self.step(1 + text.len() as u64 / CHARACTER_BYTES_PER_STEP)
    }

    /// Takes the steps of reading a text.
    pub(super) fn read(&self, bytes: usize) -> Result<()> {
        self.step(1 + bytes as u64 / BYTES_PER_STEP)
    }

    /// Takes bytes, before they are allocated.
    pub(super) fn claim(&self, bytes: usize) -> Result<()> {
        match self.bytes.get().checked_sub(bytes as u64) {
            Some(left) => {
                self.bytes.set(left);
                self.read(bytes)
            }
            None => Err(Failure::new(format!(
                "more than the {} MiB of texts and lists that one conversation may take: does the template double them?",
                BYTES >> 20
            ))),
        }
    }

    /// Takes the bytes of `count` things of `size`.
    pub(super) fn claim_product(&self, count: usize, size: usize) -> Result<()> {
        self.claim(count.saturating_mul(size))
    }

    /// Goes one level deeper; `leave` comes back, unless all is given up.
    pub(super) fn enter(&self) -> Result<()> {
        if self.level.get() >= LEVELS {
            return Err(Failure::new(format!(
                "more than {LEVELS} levels inside each other: does a macro call itself?"
            )));
        }
        self.level.set(self.level.get() + 1);
        Ok(())
    }

    /// Comes back from a level.
    pub(super) fn leave(&self) {
        self.level.set(self.level.get().saturating_sub(1));
    }

    /// Runs what is one level deeper.
    pub(super) fn deeper<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        self.enter()?;
        let result = work();
        self.leave();
        result
    }
}
