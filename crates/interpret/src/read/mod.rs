//! A prompt, read: which features fire on every token, what the dictionary misses there, and what hangs on a feature.
//!
//! - [`reading`]: features by strength, reconstruction error and loss at every token
//! - [`ablation`]: what becomes of losses and predictions where features are taken out
//! - `passing`: what passes where a dictionary reads and writes, and what is put into its place
//! - [`mod@contrast`]: two prompts beside each other, by what differs
//!
//! Special tokens (beginning of sequence and the like) are neither encoded nor replaced nor predicted, as everywhere.

pub mod ablation;
pub mod contrast;
mod passing;
mod predictions;
pub mod problem;
pub mod reading;

pub use ablation::{AblatedToken, Ablation, Change};
pub use contrast::{Contrast, Difference, Pair, Peak, contrast};
pub use predictions::Likely;
pub use reading::{Active, ReadToken, Reader, Reading};
