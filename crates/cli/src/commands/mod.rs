//! One file per verb: its arguments, and what it does with them.

mod dictionary;
mod options;

pub(crate) mod encode;
pub(crate) mod features;
pub(crate) mod inspect;
pub(crate) mod search;
pub(crate) mod show;
pub(crate) mod steer;
pub(crate) mod train;
