//! Directions found by contrast: vectors that tell one kind of text from another, kept in the files that other tools read.
//!
//! - [`fit`]: the direction between two sets of activations: mean difference, principal direction of differences, logistic probe
//! - [`contrast`](mod@contrast): texts to vectors, hook point by hook point, each judged on texts that it was not made of
//! - [`gguf`]: control vectors as llama.cpp and repeng read and write them, of the pieces of `container`
//! - [`explain`](mod@explain): a vector as a sparse sum of a dictionary's features

mod container;
pub mod contrast;
pub mod explain;
pub mod fit;
pub mod gguf;
pub mod problem;

pub use contrast::{ContrastPlan, Found, Read, Texts, contrast};
pub use explain::{Explanation, explain};
pub use fit::Method;
pub use gguf::{CONTROL_VECTOR, ControlVector};
pub use problem::VectorProblem;
