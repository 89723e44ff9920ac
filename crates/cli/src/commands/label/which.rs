//! Which features are labelled? Nobody can pay for all.

use super::LabelArgs;
use crate::exit::Complaint;
use untangle_interpret::Database;
use untangle_interpret::database::Only;
use untangle_interpret::read::Reader;

/// The features that are asked for, each once, in the order in which they are labelled.
pub(super) fn features(
    args: &LabelArgs,
    database: &Database,
    reader: Option<&Reader<'_>>,
) -> anyhow::Result<Vec<usize>> {
    let n = database.n_features()?;
    let named = args.features.is_some() || args.for_prompt.is_some();
    if named && !args.select.is_empty() {
        let problem =
            "features are named by --features or --for-prompt, or selected by --sort and its like, and not both";
        return Err(Complaint::usage(problem));
    }
    let found = match (&args.features, &args.for_prompt, reader) {
        (Some(list), ..) => listed(list, n)?,
        (None, Some(text), Some(reader)) => firing(text, database, reader, args.limit)?,
        _ => {
            let mut query = args.select.query("", Some(args.limit));
            // Of what never fires there is nothing to show.
            query.only = query.only.or(Some(Only::Alive));
            args.select.find(database, &query)?.features.iter().map(|summary| summary.feature).collect()
        }
    };
    if found.is_empty() {
        return Err(Complaint::bad_input(format!("{}: no feature is as asked for", database.path().display())));
    }
    Ok(found)
}

/// Numbers and ranges, both ends included.
fn listed(list: &str, n: usize) -> anyhow::Result<Vec<usize>> {
    let refuse = |part: &str, problem: &str| {
        Complaint::usage(format!("--features {list}: `{part}` {problem}; give numbers and ranges, such as 12,40-44"))
    };
    let mut found: Vec<usize> = Vec::new();
    for part in list.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let number = |text: &str| text.trim().parse::<usize>().map_err(|_| refuse(part, "is no number of a feature"));
        let (first, last) = match part.split_once('-') {
            Some((first, last)) => (number(first)?, number(last)?),
            None => (number(part)?, number(part)?),
        };
        if last >= n {
            return Err(refuse(part, &format!("goes beyond the {n} features that there are, from 0")));
        }
        if first > last {
            return Err(refuse(part, "ends before it begins"));
        }
        found.extend((first..=last).filter(|feature| !found.contains(feature)).collect::<Vec<_>>());
    }
    Ok(found)
}

/// The features that fire on a text, by how strongly, as a part of the strongest that each was seen.
fn firing(text: &str, database: &Database, reader: &Reader<'_>, limit: usize) -> anyhow::Result<Vec<usize>> {
    let (ids, _) = reader.tokens(text)?;
    let strongest = reader.read(&ids)?.strongest();
    let of: Vec<usize> = strongest.iter().map(|found| found.feature).collect();
    let most = database.summaries_of(&of)?;
    let part = |feature: usize, activation: f32| {
        let most = most.iter().find(|summary| summary.feature == feature).map_or(0.0, |summary| summary.max_activation);
        if most > 0.0 { activation.abs() / most } else { 0.0 }
    };
    let mut parts: Vec<(f32, usize)> =
        strongest.iter().map(|found| (part(found.feature, found.activation), found.feature)).collect();
    parts.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    Ok(parts.into_iter().map(|(_, feature)| feature).take(limit).collect())
}

#[cfg(test)]
mod tests {
    use super::listed;

    #[test]
    fn lists_are_numbers_and_ranges_each_once() {
        assert_eq!(listed("3, 1-4,9", 10).expect("a list"), [3, 1, 2, 4, 9]);
        for (wrong, told) in [
            ("10", "goes beyond"),
            ("a", "no number"),
            ("4-2", "ends before"),
            ("1-", "no number"),
            ("-1", "no number"),
        ] {
            assert!(listed(wrong, 10).expect_err(wrong).to_string().contains(told), "{wrong}");
        }
    }
}
