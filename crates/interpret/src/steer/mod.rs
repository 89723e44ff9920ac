//! Steering: features are turned up, set or taken out while the model runs.
//!
//! With f the features of an activation x and f' the edited ones, x goes on as `x + decode(f') - decode(f)`, that is
//! `x + sum_i (f'_i - f_i) d_i` over the edited features: what the dictionary does not explain of x stays as it was,
//! and an edit that changes no feature changes no bit.
//!
//! - [`spec`]: `12:add=8`, `bridge:ablate`: what the user writes, and which feature and strength it means
//! - [`edit`]: the exact delta
//! - [`effect`]: what steering does to the next-token distribution, beside random directions of the same norm
//! - [`mod@study`]: whether the concept appears in many continuations and the text stays one, beside controls
//! - [`run`]: baseline and steered text side by side, for one or several strengths

pub mod edit;
pub mod effect;
pub mod run;
pub mod spec;
pub mod study;

pub use edit::{Edit, Operator, Steer};
pub use effect::Effect;
pub use run::{SteerOptions, SteerResult, steer, sweep};
pub use spec::{FeatureSpec, Strength, resolve, swept};
pub use study::{Arm, Studies, Study, StudyPlan, Told};
