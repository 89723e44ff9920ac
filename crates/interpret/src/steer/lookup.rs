//! Which feature of which dictionary does a name mean?

use super::dictionary::Dictionary;
use super::grammar::{Selector, What};
use super::problem::SteerProblem;
use crate::database::{Database, Summary};
use crate::error::InterpretError;

/// Features with something like a label that are named where it fits none or several.
const NAMED: usize = 6;
/// Tokens that are told of each: what it would have the model say.
const RAISED: usize = 3;

/// The dictionary and the feature that are meant.
///
/// # Errors
/// When there is none, or there are several.
pub(super) fn find(what: &What, dictionaries: &[Dictionary<'_>]) -> Result<(usize, usize), InterpretError> {
    let What::Feature { dictionary, selector } = what else {
        let problem = "is no feature, and has no activation".to_owned();
        return Err(SteerProblem::Impossible { what: what.to_string(), problem }.into());
    };
    let known = || dictionaries.iter().map(|dictionary| dictionary.name.to_owned()).collect::<Vec<_>>();
    let among: Vec<usize> = match dictionary {
        None => (0..dictionaries.len()).collect(),
        Some(name) => {
            let Some(found) = dictionaries.iter().position(|dictionary| dictionary.name == name) else {
                let (what, name) = (what.to_string(), name.clone());
                return Err(SteerProblem::NoSuchDictionary { what, name, known: known() }.into());
            };
            vec![found]
        }
    };
    match (selector, &among[..]) {
        (_, []) => {
            Err(SteerProblem::NoSuchDictionary { what: what.to_string(), name: String::new(), known: known() }.into())
        }
        (Selector::Id(feature), [one]) => dictionaries[*one].check_feature(*feature).map(|()| (*one, *feature)),
        (Selector::Id(_), _) => Err(SteerProblem::WhichDictionary { what: what.to_string(), known: known() }.into()),
        (Selector::Label(label), _) => by_label(what, label, &among, dictionaries),
    }
}

/// The only feature with a label, of those dictionaries that have labels.
fn by_label(
    what: &What,
    label: &str,
    among: &[usize],
    dictionaries: &[Dictionary<'_>],
) -> Result<(usize, usize), InterpretError> {
    let labelled = among.iter().filter_map(|at| Some((*at, dictionaries[*at].database?)));
    let labelled: Vec<(usize, &Database)> = labelled.collect();
    if labelled.is_empty() {
        let problem = "labels stand in feature databases; give that of the dictionary with --features, or the feature's number, \
                       as in 12:add=8";
        return Err(InterpretError::NeedsDatabase { spec: what.to_string(), problem });
    }
    let name = |at: usize| (dictionaries.len() > 1).then_some(dictionaries[at].name);
    let mut found: Vec<(usize, Summary)> = Vec::new();
    for (at, database) in &labelled {
        found.extend(database.by_label(label)?.into_iter().map(|summary| (*at, summary)));
    }
    match &found[..] {
        [(at, one)] => Ok((*at, one.feature)),
        [] => {
            let mut near = Vec::new();
            for (at, database) in labelled {
                near.extend(database.search(label, NAMED)?.iter().filter_map(|feature| named(name(at), feature)));
            }
            Err(InterpretError::NoSuchLabel { label: label.to_owned(), near })
        }
        several => {
            let mut candidates = Vec::new();
            for (number, (at, feature)) in several.iter().enumerate() {
                let Some(name) = named(name(*at), feature) else { continue };
                // What is not shown need not be looked up.
                let database = dictionaries[*at].database.filter(|_| number < NAMED);
                candidates
                    .push(name + &database.map_or(Ok(String::new()), |database| raised(database, feature.feature))?);
            }
            Err(InterpretError::AmbiguousLabel { label: label.to_owned(), candidates })
        }
    }
}

fn named(dictionary: Option<&str>, feature: &Summary) -> Option<String> {
    let prefix = dictionary.map(|name| format!("{name}#")).unwrap_or_default();
    Some(format!("{prefix}{} ({})", feature.feature, feature.label.as_deref()?))
}

/// What a feature would have the model say.
fn raised(database: &Database, feature: usize) -> Result<String, InterpretError> {
    let tokens = database.card(feature)?.top_logits;
    let tokens: Vec<String> = tokens.iter().take(RAISED).map(|effect| format!("{:?}", effect.token)).collect();
    Ok(if tokens.is_empty() { String::new() } else { format!(" raises {}", tokens.join(" ")) })
}
