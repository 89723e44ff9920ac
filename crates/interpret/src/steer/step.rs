//! An intervention of which everything is known: features by number, strengths in units of activation, directions as vectors.

use super::edit::{Edit, Operator};
use super::grammar::{Sign, Spec};
use super::tokens::Tokens;
use std::sync::Arc;
use untangle_schema::HookPoint;

/// One change to a running model.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// What is done.
    pub change: Change,
    /// Whether its amount is a share of the norm of the activation that is changed.
    pub of_norm: bool,
    /// At which tokens.
    pub tokens: Tokens,
    /// What must hold there.
    pub tests: Vec<Test>,
    /// As it was written; none where a program made it.
    pub spec: Option<Spec>,
    /// The feature's largest activation, where it is known; along a direction, the length of that.
    pub maximum: Option<f32>,
}

/// What is done.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// To a feature's activation.
    Feature {
        /// Number of the dictionary.
        dictionary: usize,
        /// Its feature.
        feature: usize,
        /// What.
        operator: Operator,
    },
    /// Along a direction, which a crosscoder has at several hook points.
    Along {
        /// A unit vector at each of them.
        directions: Vec<Direction>,
        /// What.
        operator: AlongOperator,
    },
}

impl Change {
    /// Whether it adds the same whatever is there.
    pub(super) fn is_addition(&self) -> bool {
        match self {
            Change::Feature { operator, .. } => !operator.reads(),
            Change::Along { operator, .. } => matches!(operator, AlongOperator::Add(_)),
        }
    }
}

/// A unit vector at a hook point.
#[derive(Clone, Debug, PartialEq)]
pub struct Direction {
    /// The hook point.
    pub point: HookPoint,
    /// The vector, of length 1.
    pub unit: Arc<[f32]>,
}

/// What is done along a direction `u`; `a = h . u` is what lies along it.
#[derive(Clone, Debug, PartialEq)]
pub enum AlongOperator {
    /// `h + v u`
    Add(f32),
    /// `h - a u`
    ProjectOut,
    /// `h - (a - v) u` where `a > v`
    Cap(f32),
    /// `h + a (t - u)`, with a unit vector `t` at every hook point: what a token's direction says is said of another.
    Swap(Vec<Direction>),
}

/// A comparison at the token.
#[derive(Clone, Debug, PartialEq)]
pub struct Test {
    /// Of what.
    pub value: Value,
    /// How.
    pub sign: Sign,
    /// With what.
    pub limit: f32,
    /// Whether that is a share of the norm of the activation along whose direction is measured.
    pub of_norm: bool,
}

/// What is compared.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A feature's activation.
    Activation {
        /// Number of the dictionary.
        dictionary: usize,
        /// Its feature.
        feature: usize,
    },
    /// What lies along a direction.
    Along(Direction),
}

impl Step {
    /// A change at all tokens.
    pub fn new(change: Change) -> Self {
        Step { change, of_norm: false, tokens: Tokens::default(), tests: Vec::new(), spec: None, maximum: None }
    }

    /// The same at other tokens.
    #[must_use]
    pub fn at(self, tokens: Tokens) -> Self {
        Step { tokens, ..self }
    }

    /// Whether it turns the feature that another turns.
    fn is_of_feature_of(&self, other: &Self) -> bool {
        let feature = |step: &Step| match step.change {
            Change::Feature { dictionary, feature, .. } => Some((dictionary, feature)),
            Change::Along { .. } => None,
        };
        feature(self).is_some() && feature(self) == feature(other)
    }

    /// Whether it changes the same as another, at the same tokens and under the same conditions.
    pub(super) fn repeats(&self, other: &Self) -> bool {
        self.is_of_feature_of(other) && self.tokens == other.tokens && self.tests == other.tests
    }

    /// Whether nothing stays of it behind a later step, which sets the same feature wherever this one turns it.
    pub fn is_undone_by(&self, later: &Self) -> bool {
        let sets = matches!(later.change, Change::Feature { operator: Operator::Set(_), .. });
        sets && later.is_of_feature_of(self) && later.tests.is_empty() && later.tokens.hold_all_of(&self.tokens)
    }

    /// The name of what is done, as it was written.
    pub(super) fn done(&self) -> &'static str {
        match (&self.spec, &self.change) {
            (Some(spec), _) => spec.operation.name(),
            (None, Change::Feature { operator, .. }) => operator.name(),
            (None, Change::Along { operator, .. }) => operator.name(),
        }
    }

    /// As it was written, for messages.
    pub(super) fn in_words(&self) -> String {
        match (&self.spec, &self.change) {
            (Some(spec), _) => spec.to_string(),
            (None, Change::Feature { feature, operator, .. }) => format!("{feature}:{}", operator.name()),
            (None, Change::Along { .. }) => "a direction".to_owned(),
        }
    }
}

impl From<Edit> for Step {
    /// An edit of the first dictionary, at all tokens.
    fn from(edit: Edit) -> Self {
        Step::new(Change::Feature { dictionary: 0, feature: edit.feature, operator: edit.operator })
    }
}

impl AlongOperator {
    /// Its name.
    pub fn name(&self) -> &'static str {
        match self {
            AlongOperator::Add(_) => "add-direction",
            AlongOperator::ProjectOut => "project-out",
            AlongOperator::Cap(_) => "cap",
            AlongOperator::Swap(_) => "swap",
        }
    }

    /// Its amount, where it has one.
    pub fn value(&self) -> Option<f32> {
        match self {
            AlongOperator::Add(v) | AlongOperator::Cap(v) => Some(*v),
            AlongOperator::ProjectOut | AlongOperator::Swap(_) => None,
        }
    }

    /// The directions that are put in the place of others.
    pub(super) fn targets(&self) -> Option<&Vec<Direction>> {
        if let AlongOperator::Swap(targets) = self { Some(targets) } else { None }
    }

    /// Changes the amount.
    fn with(&self, amount: impl Fn(f32) -> f32) -> Self {
        match self {
            AlongOperator::Add(v) => AlongOperator::Add(amount(*v)),
            AlongOperator::Cap(v) => AlongOperator::Cap(amount(*v)),
            other => other.clone(),
        }
    }

    /// Adds to `moved`, by which the row has been moved, what this moves it by at the `number`th hook point; whether that
    /// is anything. `row` is what it was, `amount` changes amounts.
    pub(super) fn push(
        &self,
        direction: &Direction,
        number: usize,
        row: &[f32],
        moved: &mut [f32],
        amount: impl Fn(f32) -> f32,
    ) -> bool {
        let unit = &direction.unit;
        let along = || dot(row, unit) + dot(moved, unit);
        let by = match self.with(amount) {
            AlongOperator::Add(v) => f64::from(v),
            AlongOperator::ProjectOut => -along(),
            AlongOperator::Cap(v) => (f64::from(v) - along()).min(0.0),
            AlongOperator::Swap(targets) => {
                let (by, target) = (along(), &targets[number].unit);
                if by != 0.0 {
                    let pairs = moved.iter_mut().zip(target.iter().zip(unit.iter()));
                    pairs.for_each(|(moved, (t, u))| *moved += (by * (f64::from(*t) - f64::from(*u))) as f32);
                }
                return by != 0.0;
            }
        };
        if by != 0.0 {
            moved.iter_mut().zip(unit.iter()).for_each(|(moved, u)| *moved += by as f32 * u);
        }
        by != 0.0
    }
}

/// A product summed in f64.
pub(super) fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

/// The length of a vector.
pub(super) fn norm(row: &[f32]) -> f64 {
    dot(row, row).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use untangle_schema::Site;

    /// Where a row comes to lie.
    fn pushed(operator: &AlongOperator, unit: [f32; 2], row: [f32; 2]) -> ([f32; 2], bool) {
        let direction = Direction { point: HookPoint::block(0, Site::ResidPost), unit: Arc::from(unit) };
        let mut moved = [0.0; 2];
        let some = operator.push(&direction, 0, &row, &mut moved, |v| v);
        ([row[0] + moved[0], row[1] + moved[1]], some)
    }

    #[test]
    fn directions_by_hand() {
        let (x, diagonal) = ([1.0, 0.0], [0.6, 0.8]);
        assert_eq!(pushed(&AlongOperator::Add(5.0), diagonal, [1.0, 1.0]), ([4.0, 5.0], true));
        assert_eq!(pushed(&AlongOperator::Add(0.0), diagonal, [1.0, 1.0]), ([1.0, 1.0], false));
        assert_eq!(pushed(&AlongOperator::ProjectOut, x, [3.0, 2.0]), ([0.0, 2.0], true));
        assert_eq!(pushed(&AlongOperator::ProjectOut, x, [0.0, 2.0]), ([0.0, 2.0], false));
        assert_eq!(pushed(&AlongOperator::Cap(2.0), x, [3.0, 2.0]), ([2.0, 2.0], true));
        assert_eq!(pushed(&AlongOperator::Cap(2.0), x, [-3.0, 2.0]), ([-3.0, 2.0], false));
        let target = Direction { point: HookPoint::block(0, Site::ResidPost), unit: Arc::from([0.0, 1.0]) };
        assert_eq!(pushed(&AlongOperator::Swap(vec![target]), x, [3.0, 2.0]), ([0.0, 5.0], true));
    }
}
