//! One file per verb: its arguments, and what it does with them.

pub(crate) mod inspect;
