//! Who gives labels, and who measures how well they hold?

use crate::error::InterpretError;
use untangle_schema::{FeatureCard, Label, LabelKind, Score};

/// The source of labels that are rules about tokens.
pub const SOURCE: &str = "tokens";

/// Gives features labels, each from what is known of the feature alone.
pub trait Labeller {
    /// What its labels speak of.
    fn kind(&self) -> LabelKind;

    /// How they are made, as files name it.
    fn source(&self) -> &str;

    /// What a feature is called; none where nothing holds of it.
    ///
    /// # Errors
    /// Those of what it asks.
    fn label(&mut self, card: &FeatureCard) -> Result<Option<String>, InterpretError>;
}

/// Measures how well labels hold.
pub trait Scorer {
    /// The measure, as files name it.
    fn name(&self) -> &str;

    /// How well `label` holds of the feature; none where it is not a label that can be measured in this way.
    ///
    /// # Errors
    /// Those of what it asks.
    fn score(&mut self, card: &FeatureCard, label: &Label) -> Result<Option<Score>, InterpretError>;
}

/// Adds a labeller's label of the feature to its card, with what each of the scorers says of it.
///
/// # Errors
/// Those of the labeller and the scorers.
pub fn add_label(
    card: &mut FeatureCard,
    labeller: &mut dyn Labeller,
    scorers: &mut [&mut dyn Scorer],
) -> Result<(), InterpretError> {
    let Some(text) = labeller.label(card)? else { return Ok(()) };
    let (kind, source) = (labeller.kind(), labeller.source().to_owned());
    let mut label = Label { kind, source, text, scores: Vec::new() };
    for scorer in scorers {
        label.scores.extend(scorer.score(card, &label)?);
    }
    card.add_label(label);
    Ok(())
}
