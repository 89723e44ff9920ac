//! Options that say which features of a database are listed, in which order.

use crate::exit::Complaint;
use clap::builder::TypedValueParser;
use clap::{Args, ValueEnum};
use untangle_interpret::database::{Only, Query, Sort};
use untangle_interpret::{Database, Summary};
use untangle_schema::LabelKind;

/// Order and filters.
#[derive(Debug, Args)]
#[command(next_help_heading = "Selection")]
pub(crate) struct SelectArgs {
    /// Order, the most first: match (how well it fits TEXT; the usual one of `search`), score (F1 of the label), score:NAME (of that scorer), density, max (largest activation) or id
    #[arg(long, value_name = "KEY", value_parser = clap::builder::StringValueParser::new().try_map(|text| sort(&text)))]
    sort: Option<Sort>,
    /// The other way round
    #[arg(long)]
    reverse: bool,
    /// Only features with a label of this kind, which is shown
    #[arg(long, value_enum)]
    kind: Option<Kind>,
    /// Only features with a label of this source, such as tokens, which is shown with its scores
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Only features whose score is at least that: the one that --sort names, else F1
    #[arg(long, value_name = "SCORE", value_parser = finite)]
    min_score: Option<f64>,
    /// Only features that fire on at least this part of the tokens, such as 0.001
    #[arg(long, value_name = "PART", value_parser = part)]
    min_density: Option<f64>,
    /// Only features that fire on at most this part of the tokens, such as 0.1
    #[arg(long, value_name = "PART", value_parser = part)]
    max_density: Option<f64>,
    /// Only features of a crosscoder that are in no part before this one, numbered from 1 as `inspect` lists them
    #[arg(long, value_name = "PART", value_parser = clap::value_parser!(u32).range(1..))]
    appeared_in: Option<u32>,
    /// Only features of a crosscoder that its parts share in this way
    #[arg(long, value_enum)]
    shared: Option<SharedAs>,
    /// Only features in this state
    #[arg(long, value_enum)]
    only: Option<State>,
}

/// What a label speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// What makes the feature fire
    Input,
    /// What it makes the model say
    Output,
}

/// How the parts of a crosscoder share a feature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum SharedAs {
    /// In one part alone
    Exclusive,
    /// In several parts, absent from others
    Partial,
    /// In all parts, in some much more than in others
    Between,
    /// In all parts about equally, in one direction
    Alike,
    /// In all parts about equally, in different directions
    Turned,
}

/// A state of features.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum State {
    /// With a label of what makes them fire
    Labelled,
    /// Without one, though they fire; `untangle label` takes those that no language model has labelled yet
    Unlabelled,
    /// That never fired
    Dead,
    /// That fired
    Alive,
}

fn finite(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|value: &f64| value.is_finite()).ok_or_else(|| "expected a number, such as 0.5".to_owned())
}

fn part(text: &str) -> Result<f64, String> {
    finite(text)
        .ok()
        .filter(|value| (0.0..=1.0).contains(value))
        .ok_or_else(|| "expected a part of the tokens, from 0 to 1, such as 0.05 for 5 %".to_owned())
}

fn sort(text: &str) -> Result<Sort, String> {
    match text {
        "match" => Ok(Sort::Match),
        "score" => Ok(Sort::Score(None)),
        "density" => Ok(Sort::Density),
        "max" => Ok(Sort::Activation),
        "id" => Ok(Sort::Number),
        _ => match text.strip_prefix("score:").filter(|name| !name.is_empty()) {
            Some(name) => Ok(Sort::Score(Some(name.to_owned()))),
            None => Err("expected match, score, score:NAME, density, max or id".to_owned()),
        },
    }
}

impl SelectArgs {
    /// Whether nothing is asked for.
    pub(crate) fn is_empty(&self) -> bool {
        self.query("", None) == Query::default()
    }

    /// The query, for features that have to do with `text`, if there is any.
    pub(crate) fn query(&self, text: &str, limit: Option<usize>) -> Query {
        Query {
            text: text.to_owned(),
            sort: self.sort.clone().unwrap_or_default(),
            reversed: self.reverse,
            kind: self.kind.map(|kind| match kind {
                Kind::Input => LabelKind::Input,
                Kind::Output => LabelKind::Output,
            }),
            source: self.source.clone(),
            min_score: self.min_score,
            min_density: self.min_density,
            max_density: self.max_density,
            shared: self.shared.and_then(|shared| Some(shared.to_possible_value()?.get_name().to_owned())),
            appeared_in: self.appeared_in.map(|part| part as usize - 1),
            only: self.only.map(|state| match state {
                State::Labelled => Only::Labelled,
                State::Unlabelled => Only::Unlabelled,
                State::Dead => Only::Dead,
                State::Alive => Only::Alive,
            }),
            limit,
            offset: 0,
        }
    }

    /// What the query finds, with the scores that it asks for by name.
    pub(crate) fn find(&self, database: &Database, query: &Query) -> anyhow::Result<Found> {
        self.check(database)?;
        let scorer = if let Sort::Score(Some(scorer)) = &query.sort { Some(scorer.clone()) } else { None };
        Ok(Found { features: database.query(query)?, scorer })
    }

    /// Names that no label has are mistakes, and not a reason to find nothing.
    fn check(&self, database: &Database) -> anyhow::Result<()> {
        let check = |what: &str, name: &str, known: Vec<String>| match known.iter().any(|other| other == name) {
            true => Ok(()),
            false => {
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                Err(Complaint::usage(format!("no label has the {what} `{name}`; there are {known}")))
            }
        };
        if let Some(Sort::Score(Some(scorer))) = &self.sort {
            check("score", scorer, database.scorers()?)?;
        }
        self.source.as_ref().map_or(Ok(()), |source| check("source", source, database.sources()?))?;
        let parts = database.run()?.parts.len();
        match (self.appeared_in, self.shared) {
            (None, None) => Ok(()),
            _ if parts == 0 => {
                let problem =
                    "--appeared-in and --shared are about crosscoders, and these features are of another dictionary";
                Err(Complaint::usage(problem))
            }
            (Some(part), _) if part as usize > parts => {
                Err(Complaint::usage(format!("there is no part {part}; the crosscoder has {parts}")))
            }
            _ => Ok(()),
        }
    }
}

/// Features that were found.
pub(crate) struct Found {
    /// In order.
    pub(crate) features: Vec<Summary>,
    /// The scorer that they were ordered by.
    pub(crate) scorer: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_named_and_nothing_else_is_one() {
        assert_eq!(sort("score:detection"), Ok(Sort::Score(Some("detection".to_owned()))));
        assert_eq!((sort("score"), sort("id")), (Ok(Sort::Score(None)), Ok(Sort::Number)));
        assert!(sort("score:").is_err() && sort("f1").is_err() && sort("").is_err());
    }
}
