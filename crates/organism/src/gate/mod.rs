//! Does a model hold what lasts in its documents, and can it be turned by what it holds? What must be true of a model
//! before features are looked for in it.
//!
//! - [`held`]: activations at every layer, and what is held at every token
//! - [`probe`]: a linear probe of them
//! - [`about`]: which topic a text is about, by its words
//! - [`turn`]: vectors that turn the model's stories to a topic

pub mod about;
pub mod held;
pub mod probe;
pub mod turn;
