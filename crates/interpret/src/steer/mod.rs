//! Steering: features and directions are turned while the model runs.
//!
//! With f the features of an activation x and f' the edited ones, x goes on as `x + decode(f') - decode(f)`, that is
//! `x + sum_i (f'_i - f_i) d_i` over the edited features: what the dictionary does not explain of x stays as it was,
//! and an edit that changes no feature changes no bit.
//!
//! - [`grammar`]: `12:add=8`, `bridge:ablate at prompt`, `'rude':cap=1x when anger>0.5x`: what a user writes
//! - [`resolve`](mod@resolve): which features, directions, tokens and strengths that means
//! - [`step`]: an intervention of which everything is known
//! - [`strength`]: how strong that is, in every unit
//! - [`steering`]: the hook that takes steps, for every text of a batch its own
//! - [`edit`]: the exact delta of features, as a reference
//! - [`effect`]: what steering does to the next-token distribution, beside random directions of the same norm
//! - [`mod@study`]: whether the concept appears in many continuations and the text stays one, beside controls; [`arm`]: what came
//!   of one way to write
//! - [`dose`]: the same over strengths, beside a vector and the plain instruction; [`dose_page`]: as a page
//! - [`run`]: baseline and steered text side by side, for one or several strengths

pub mod arm;
pub mod dictionary;
pub mod dose;
pub mod dose_page;
pub mod edit;
pub mod effect;
pub mod grammar;
mod heard;
mod lookup;
mod moves;
mod prepared;
pub mod problem;
pub mod resolve;
pub mod run;
pub mod steering;
pub mod step;
pub mod strength;
pub mod study;
pub mod tokens;

pub use arm::Arm;
pub(crate) use dictionary::is_of;
pub use dictionary::{Dictionary, Kind};
pub use dose::{Curve, CurveKind, Dose, DosePlan, Window};
pub use edit::{Edit, Operator, Steer};
pub use effect::{Effect, EffectOf};
pub use grammar::{Spec, swept};
pub use problem::SteerProblem;
pub use resolve::{check_databases, feature_of, resolve};
pub use run::{
    PlannedTexts, SteerOptions, SteerResult, TextOptions, plan_texts, raised_by, steer, steer_texts,
    steps_without_tokens, sweep,
};
pub use steering::{Control, Steering};
pub use step::Step;
pub use strength::{Strength, place_of, strengths};
pub use study::{Judge, Studies, Study, StudyPlan, Told};
pub use tokens::Tokens;
