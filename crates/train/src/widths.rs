//! How wide the activations are that a dictionary reads and predicts.

/// Widths of the activations that a dictionary has to do with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Widths {
    /// Of what is read: one, but of crosscoders.
    pub read: Vec<usize>,
    /// Of what a transcoder predicts.
    pub predicted: Option<usize>,
}
