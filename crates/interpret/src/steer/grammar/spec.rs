//! A whole intervention: `bridge:add=2x at generated when rude>0.5x`.

use super::amount::{Amount, Unit};
use super::condition::Condition;
use super::positions::Positions;
use super::scan::Scan;
use super::what::What;
use crate::error::InterpretError;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// What is changed, how, at which tokens, and when.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Spec {
    /// What is turned.
    pub what: What,
    /// How.
    pub operation: Operation,
    /// At which tokens; none where that is said elsewhere, or all are.
    pub positions: Option<Positions>,
    /// What must hold at a token; none where nothing must.
    pub condition: Option<Condition>,
}

/// What is done to a feature or along a direction.
#[derive(Clone, Debug, PartialEq)]
pub enum Operation {
    /// To a feature's activation, an amount is added.
    Add(Amount),
    /// It becomes an amount.
    Set(Amount),
    /// It is multiplied.
    Mul(f32),
    /// It becomes at least an amount.
    Min(Amount),
    /// It becomes at most an amount.
    Max(Amount),
    /// It becomes 0.
    Ablate,
    /// A step of an amount along the direction.
    AddDirection(Amount),
    /// What lies along the direction is taken out.
    ProjectOut,
    /// What lies along the direction becomes at most an amount.
    Cap(Amount),
    /// What lies along the direction is laid along another one.
    Swap(What),
}

/// An operation's name and how it is made of an amount.
type WithAmount = (&'static str, fn(Amount) -> Operation);

/// A word of the grammar and what stands behind it.
type Clause<'a> = (&'static str, &'a str);

impl Operation {
    /// Those with an amount.
    const WITH_AMOUNT: [WithAmount; 6] = [
        ("add", Operation::Add),
        ("set", Operation::Set),
        ("min", Operation::Min),
        ("max", Operation::Max),
        ("add-direction", Operation::AddDirection),
        ("cap", Operation::Cap),
    ];

    /// How it is called.
    pub fn name(&self) -> &'static str {
        match self {
            Operation::Add(_) => "add",
            Operation::Set(_) => "set",
            Operation::Mul(_) => "mul",
            Operation::Min(_) => "min",
            Operation::Max(_) => "max",
            Operation::Ablate => "ablate",
            Operation::AddDirection(_) => "add-direction",
            Operation::ProjectOut => "project-out",
            Operation::Cap(_) => "cap",
            Operation::Swap(_) => "swap",
        }
    }

    /// Its amount, where it has one.
    pub fn amount(&self) -> Option<Amount> {
        match self {
            Operation::Add(amount)
            | Operation::Set(amount)
            | Operation::Min(amount)
            | Operation::Max(amount)
            | Operation::AddDirection(amount)
            | Operation::Cap(amount) => Some(*amount),
            Operation::Mul(_) | Operation::Ablate | Operation::ProjectOut | Operation::Swap(_) => None,
        }
    }

    /// What is done where nothing is said: the largest activation is added, or the vector as it is.
    ///
    /// # Errors
    /// What is wrong, in words: a token's direction has no length of its own.
    pub fn usual_of(what: &What) -> Result<Self, String> {
        match what {
            What::Token { .. } => {
                Err("a token's direction has no strength of its own; say add-direction=0.3n".to_owned())
            }
            What::Vector { .. } => Ok(Operation::AddDirection(Amount::MAXIMUM)),
            What::Feature { .. } => Ok(Operation::Add(Amount::MAXIMUM)),
        }
    }

    /// Whether it works along a direction and not on a feature's activation.
    pub fn is_of_direction(&self) -> bool {
        matches!(self, Operation::AddDirection(_) | Operation::ProjectOut | Operation::Cap(_) | Operation::Swap(_))
    }

    /// The same with another number, in the unit of its own; as it is where it has none.
    #[must_use]
    pub fn with_value(&self, value: f32) -> Self {
        let amount = |amount: &Amount| Amount { value, ..*amount };
        match self {
            Operation::Add(of) => Operation::Add(amount(of)),
            Operation::Set(of) => Operation::Set(amount(of)),
            Operation::Min(of) => Operation::Min(amount(of)),
            Operation::Max(of) => Operation::Max(amount(of)),
            Operation::AddDirection(of) => Operation::AddDirection(amount(of)),
            Operation::Cap(of) => Operation::Cap(amount(of)),
            Operation::Mul(_) => Operation::Mul(value),
            Operation::Ablate | Operation::ProjectOut | Operation::Swap(_) => self.clone(),
        }
    }

    /// Whether it has a number.
    pub fn has_value(&self) -> bool {
        self.amount().is_some() || matches!(self, Operation::Mul(_))
    }

    /// Reads one; none where the text is none.
    fn parse(text: &str) -> Option<Result<Self, String>> {
        match text.trim() {
            "ablate" => return Some(Ok(Operation::Ablate)),
            "project-out" => return Some(Ok(Operation::ProjectOut)),
            "swap" => return Some(Err("`swap` needs what is laid in its place, as in swap=13".to_owned())),
            "mul" => return Some(Err("`mul` needs a factor, as in mul=0.5".to_owned())),
            bare if Self::WITH_AMOUNT.iter().any(|(known, _)| *known == bare) => {
                return Some(Err(format!("`{bare}` needs a strength, as in {bare}=2x")));
            }
            _ => {}
        }
        let (name, value) = text.split_once('=')?;
        let name = name.trim();
        if matches!(name, "ablate" | "project-out") {
            return Some(Err(format!("`{name}` takes no strength; write it alone")));
        }
        if let Some((_, make)) = Self::WITH_AMOUNT.iter().find(|(known, _)| *known == name) {
            return Some(Amount::parse(value).map(make));
        }
        match name {
            "swap" => Some(What::parse(value).map(Operation::Swap)),
            "mul" => Some(Amount::parse(value).and_then(|amount| match amount.unit {
                Unit::Absolute => Ok(Operation::Mul(amount.value)),
                Unit::OfMaximum | Unit::OfNorm => Err("mul takes a factor without x or n".to_owned()),
            })),
            _ => None,
        }
    }
}

impl FromStr for Operation {
    type Err = String;

    /// Reads `add=2x`, `ablate` and the like; says in words what is wrong.
    fn from_str(text: &str) -> Result<Self, String> {
        let name = || text.split('=').next().unwrap_or_default().trim().to_owned();
        Self::parse(text).unwrap_or_else(|| Err(format!("there is no operator `{}`", name())))
    }
}

impl FromStr for Spec {
    type Err = InterpretError;

    /// Parses `WHAT[:OPERATION][ at POSITIONS][ when CONDITION]`. Without an operation the feature's largest activation is
    /// added (`add=1x`), or the vector as it is. A colon that no operation follows belongs to the label.
    fn from_str(text: &str) -> Result<Self, InterpretError> {
        parse(text).map_err(|problem| InterpretError::Spec { spec: text.to_owned(), problem })
    }
}

fn parse(text: &str) -> Result<Spec, String> {
    let (head, clauses) = clauses(text)?;
    let (what, operation) = turned(head)?;
    let (mut positions, mut condition) = (None, None);
    for (word, clause) in &clauses {
        match *word {
            AT => positions = Some(Positions::parse(clause)?),
            _ => condition = Some(Condition::parse(clause)?),
        }
    }
    Ok(Spec { positions, condition, ..Spec::new(what, operation)? })
}

impl Spec {
    /// An operation at all tokens.
    ///
    /// # Errors
    /// What is wrong, in words: a direction has no activation.
    pub fn new(what: What, operation: Operation) -> Result<Self, String> {
        if !matches!(what, What::Feature { .. }) && !operation.is_of_direction() {
            let name = operation.name();
            return Err(format!(
                "{name} is for features; along a direction there are add-direction, project-out, cap and swap"
            ));
        }
        Ok(Spec { what, operation, positions: None, condition: None })
    }

    /// The files of vectors of which it speaks.
    pub fn vectors(&self) -> impl Iterator<Item = &str> {
        let target = if let Operation::Swap(target) = &self.operation { Some(target) } else { None };
        let compared = self.condition.iter().flat_map(|condition| &condition.0).map(|test| &test.what);
        let all = std::iter::once(&self.what).chain(target).chain(compared);
        all.filter_map(|what| if let What::Vector { path, .. } = what { Some(path.as_str()) } else { None })
    }

    /// All features and directions of which it speaks.
    pub fn names_mut(&mut self) -> impl Iterator<Item = &mut What> {
        let target = if let Operation::Swap(target) = &mut self.operation { Some(target) } else { None };
        let compared = self.condition.iter_mut().flat_map(|condition| &mut condition.0).map(|test| &mut test.what);
        std::iter::once(&mut self.what).chain(target).chain(compared)
    }
}

const AT: &str = " at ";
const WHEN: &str = " when ";

/// What stands before the first ` at ` or ` when ` outside quotation marks, and what stands behind each.
fn clauses(text: &str) -> Result<(&str, Vec<Clause<'_>>), String> {
    let scan = Scan::new(text);
    let mut found: Vec<(usize, &'static str)> =
        [AT, WHEN].into_iter().flat_map(|word| scan.find(word).map(move |at| (at, word)).collect::<Vec<_>>()).collect();
    found.sort_unstable();
    let ends = found.iter().skip(1).map(|(at, _)| *at).chain([text.len()]);
    let clauses: Vec<_> =
        found.iter().zip(ends).map(|((at, word), end)| (*word, text.get(at + word.len()..end))).collect();
    if let Some(word) = [AT, WHEN].into_iter().find(|word| clauses.iter().filter(|(w, _)| w == word).count() > 1) {
        return Err(format!("`{}` stands there twice; join what is meant", word.trim()));
    }
    let clauses = clauses.into_iter().map(|(word, clause)| (word, clause.unwrap_or_default())).collect();
    Ok((found.first().map_or(text, |(at, _)| &text[..*at]), clauses))
}

/// Reads `WHAT[:OPERATION]`.
fn turned(text: &str) -> Result<(What, Operation), String> {
    let scan = Scan::new(text);
    let colons: Vec<usize> = scan.find(":").collect();
    for at in &colons {
        if let Some(operation) = Operation::parse(&text[at + 1..]) {
            return Ok((What::parse(&text[..*at])?, operation?));
        }
    }
    if let Some(name) = colons.last().and_then(|at| unknown_operation(&text[at + 1..])) {
        return Err(format!("there is no operator `{name}`"));
    }
    if text.trim_end().ends_with(':') && !colons.is_empty() {
        return Err("after the colon stands what is done, such as add=2x, set=1x or ablate".to_owned());
    }
    let what = What::parse(text)?;
    let operation = Operation::usual_of(&what)?;
    Ok((what, operation))
}

/// The name of what looks like an operation.
fn unknown_operation(text: &str) -> Option<&str> {
    let name = text.split_once('=')?.0.trim();
    name.bytes().all(|b| b.is_ascii_alphabetic() || b == b'-').then_some(name)
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Operation::Mul(factor) => write!(f, "={factor}"),
            Operation::Swap(what) => write!(f, "={what}"),
            _ => self.amount().map_or(Ok(()), |amount| write!(f, "={amount}")),
        }
    }
}

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.what, self.operation)?;
        self.positions.iter().try_for_each(|positions| write!(f, "{AT}{positions}"))?;
        self.condition.iter().try_for_each(|condition| write!(f, "{WHEN}{condition}"))
    }
}

impl From<Spec> for String {
    fn from(spec: Spec) -> Self {
        spec.to_string()
    }
}

impl TryFrom<String> for Spec {
    type Error = InterpretError;

    fn try_from(text: String) -> Result<Self, InterpretError> {
        text.parse()
    }
}

/// The same interventions with another number, in the unit of each. What has no number stays as it is.
///
/// # Errors
/// When none has one.
pub fn swept(specs: &[Spec], value: f32) -> Result<Vec<Spec>, InterpretError> {
    if !specs.iter().any(|spec| spec.operation.has_value()) {
        let specs = specs.iter().map(Spec::to_string).collect::<Vec<_>>().join(", ");
        return Err(InterpretError::NothingToSweep { specs });
    }
    let with_value = |spec: &Spec| Spec { operation: spec.operation.with_value(value), ..spec.clone() };
    Ok(specs.iter().map(with_value).collect())
}
