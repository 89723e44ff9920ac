//! How wide the activations are that a dictionary reads and predicts, and which architecture takes how many.

use crate::architecture::Kind;
use crate::config::refuse;
use crate::error::TrainError;

/// Widths of the activations that a dictionary has to do with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Widths {
    /// Of what is read: one, but of crosscoders.
    pub read: Vec<usize>,
    /// Of what a transcoder predicts.
    pub predicted: Option<usize>,
}

impl Widths {
    /// Width of all that is read together, and in how many parts.
    pub(crate) fn read_by(&self, kind: Kind) -> Result<(usize, usize), TrainError> {
        let (widths, parts) = (&self.read, self.read.len());
        match kind.is_crosscoder() {
            true if parts < 2 => refuse(
                "--hook",
                format!("{kind} reads several activations; repeat --hook, or name stores of other models by --with"),
            ),
            false if parts > 1 => {
                refuse("--hook", format!("{kind} reads one activation, not {parts}; a crosscoder does"))
            }
            _ if widths.iter().any(|d| *d != widths[0]) => {
                let widths = widths.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                let remedy = "leave out those of other widths, or train a crosscoder for each width (a grid)";
                refuse("--hook", format!("{kind} reads activations of one width, these have {widths}; {remedy}"))
            }
            _ => Ok((widths.iter().sum(), parts)),
        }
    }
}
