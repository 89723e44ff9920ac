//! A TOML grid, read and expanded: every combination of the lists of every `[[sae]]` table is a dictionary.
//!
//! ```toml
//! [[sae]]
//! arch = ["topk", "batch-topk"]
//! k = [16, 32, 64]
//!
//! [[sae]]
//! name = "nested"
//! arch = "matryoshka"
//! prefixes = "128,512,2048"
//! seed = [0, 1, 2]
//! ```

use crate::Freeze;
use crate::arch::Kind;
use crate::config::{TrainConfig, Width};
use crate::error::TrainError;
use crate::penalty::PenaltyKind;
use crate::prefixes::Prefixes;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// One value or several.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Several<T> {
    One(T),
    Many(Vec<T>),
}

impl<T: Clone> Several<T> {
    /// The values; a single "as elsewhere" where none were given.
    fn values(given: &Option<Self>) -> Vec<Option<T>> {
        match given {
            None => vec![None],
            Some(Several::One(value)) => vec![Some(value.clone())],
            Some(Several::Many(values)) => values.iter().cloned().map(Some).collect(),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Grid {
    sae: Vec<Table>,
}

/// A `[[sae]]` table as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Table {
    name: Option<String>,
    arch: Option<Several<String>>,
    k: Option<Several<usize>>,
    l0: Option<Several<f64>>,
    d_sae: Option<Several<usize>>,
    prefixes: Option<Several<String>>,
    penalty: Option<Several<String>>,
    bandwidth: Option<Several<f64>>,
    threshold: Option<Several<f64>>,
    sparsity: Option<Several<f64>>,
    lr: Option<Several<f64>>,
    seed: Option<Several<u64>>,
    hook: Option<Several<String>>,
    hook_out: Option<Several<String>>,
    /// What one crosscoder reads; no axis.
    hooks: Option<Vec<String>>,
    batch: Option<Several<usize>>,
    freeze: Option<Several<String>>,
}

/// More dictionaries than anyone trains at once: a slip, not a wish.
const MOST: usize = 4096;

/// A dictionary that a grid asks for.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Name of its folder in the output.
    pub name: String,
    /// What is asked of it.
    pub config: TrainConfig,
    /// Hook points that it reads; none for those of the whole run.
    pub hooks: Option<Vec<String>>,
    /// Hook point that it predicts.
    pub hook_out: Option<String>,
}

/// Reads a grid and expands it; `base` and the hook point that is predicted say what its tables leave open.
///
/// # Errors
/// [`TrainError::Grid`] for what is no grid, and names that are no folders' or no different ones; when reading fails.
pub fn read(path: &Path, base: &TrainConfig, hook_out: Option<&str>) -> Result<Vec<Wanted>, TrainError> {
    let text = fs::read_to_string(path).map_err(|source| TrainError::Io { path: path.to_owned(), source })?;
    expand(&text, base, hook_out).map_err(|problem| TrainError::Grid { path: path.to_owned(), problem })
}

fn expand(text: &str, base: &TrainConfig, hook_out: Option<&str>) -> Result<Vec<Wanted>, String> {
    let grid: Grid = toml::from_str(text).map_err(|error| error.to_string().trim_end().replace('\n', " "))?;
    let mut all = Vec::new();
    for table in &grid.sae {
        all.extend(combinations(table, base, hook_out)?);
        if all.len() > MOST {
            return Err(format!("more than {MOST} dictionaries"));
        }
    }
    check(&all)?;
    Ok(all)
}

/// A value of an axis: what it adds to a name and how it changes a combination.
type Choice<'a> = (String, Box<dyn Fn(&mut Wanted) -> Result<(), String> + 'a>);

/// An axis of a grid: all its values.
type Axis<'a> = Vec<Choice<'a>>;

/// An axis of plain numbers.
fn axis<'a, T: Clone + ToString + 'a>(
    letter: &str,
    given: &Option<Several<T>>,
    set: impl Fn(&mut Wanted, T) + Copy + 'a,
) -> Axis<'a> {
    let values = Several::values(given).into_iter();
    let one = |value: Option<T>| -> Choice<'a> {
        let label = value.as_ref().map_or_else(String::new, |value| format!("{letter}{}", value.to_string()));
        let change = move |wanted: &mut Wanted| {
            if let Some(value) = value.clone() {
                set(wanted, value);
            }
            Ok(())
        };
        (label, Box::new(change))
    };
    values.map(one).collect()
}

/// Axes of values that are written as text.
fn parsed<'a, T, E: ToString>(
    letter: &str,
    given: &Option<Several<String>>,
    parse: impl Fn(&str) -> Result<T, E> + Copy + 'a,
    set: impl Fn(&mut Wanted, T) + Copy + 'a,
) -> Axis<'a> {
    let values = Several::values(given).into_iter();
    let one = |value: Option<String>| -> Choice<'a> {
        let label =
            value.as_ref().map_or_else(String::new, |value| format!("{letter}{}", value.replace([',', ':'], "_")));
        let change = move |wanted: &mut Wanted| match &value {
            Some(value) => parse(value).map(|value| set(wanted, value)).map_err(|error| error.to_string()),
            None => Ok(()),
        };
        (label, Box::new(change))
    };
    values.map(one).collect()
}

/// Every combination of a table's lists, named by its architecture and what differs within the table.
fn combinations(table: &Table, base: &TrainConfig, hook_out: Option<&str>) -> Result<Vec<Wanted>, String> {
    let axes: Vec<(bool, Axis<'_>)> = vec![
        (true, parsed("", &table.arch, str::parse::<Kind>, |c, kind| c.config.kind = kind)),
        (true, axis("k", &table.k, |c, k| c.config.k = k)),
        (true, axis("l0-", &table.l0, |c, l0: f64| set_l0(&mut c.config, l0, table.k.is_none()))),
        (true, axis("d", &table.d_sae, |c, n| c.config.width = Width::Features(n))),
        (false, parsed("p", &table.prefixes, str::parse::<Prefixes>, |c, p| c.config.prefixes = Some(p))),
        (false, parsed("", &table.penalty, str::parse::<PenaltyKind>, |c, p| c.config.penalty = p)),
        (false, axis("w", &table.bandwidth, |c, bandwidth| c.config.bandwidth = Some(bandwidth))),
        (false, axis("t", &table.threshold, |c, threshold| c.config.threshold = Some(threshold))),
        (false, axis("c", &table.sparsity, |c, sparsity| c.config.sparsity = Some(sparsity))),
        (false, axis("lr", &table.lr, |c, lr| c.config.lr = Some(lr))),
        (false, axis("s", &table.seed, |c, seed| c.config.seed = seed)),
        (false, axis("", &table.hook, |c, hook: String| c.hooks = Some(vec![hook]))),
        (false, axis("", &table.hook_out, |c, hook: String| c.hook_out = Some(hook))),
        (false, axis("b", &table.batch, |c, batch| c.config.batch = batch)),
        (false, parsed("frozen-", &table.freeze, str::parse::<Freeze>, |c, freeze| c.config.freeze = Some(freeze))),
    ];
    let many = axes.iter().map(|(_, axis)| axis.len()).try_fold(1, usize::checked_mul);
    if many.is_none_or(|many| many > MOST) {
        return Err(format!("more than {MOST} dictionaries"));
    }
    let hooks = table.hooks.clone();
    let first = Wanted { name: String::new(), config: base.clone(), hooks, hook_out: None };
    let mut all = vec![(Vec::new(), first)];
    for (always, axis) in &axes {
        let named = axis.len() > 1 || (*always && table.name.is_none());
        let mut next = Vec::new();
        for (labels, wanted) in &all {
            for (label, change) in axis {
                let mut changed = wanted.clone();
                change(&mut changed)?;
                let mut labels: Vec<String> = labels.clone();
                labels.extend(Some(label.clone()).filter(|label| named && !label.is_empty()));
                next.push((labels, changed));
            }
        }
        all = next;
    }
    let named = |(labels, mut wanted): (Vec<String>, Wanted)| {
        let first = table.name.clone().unwrap_or_default();
        let arch = wanted.config.kind.to_string();
        let first = if first.is_empty() && table.arch.is_none() { arch } else { first };
        let parts = Some(first).into_iter().chain(labels).filter(|part| !part.is_empty());
        wanted.name = parts.collect::<Vec<_>>().join("-");
        // What holds for the whole grid is no word to the autoencoders in it.
        if wanted.config.kind.is_transcoder() && wanted.hook_out.is_none() {
            wanted.hook_out = hook_out.map(str::to_owned);
        }
        wanted
    };
    Ok(all.into_iter().map(named).collect())
}

/// Sets the number that is aimed at, and k where the table has none.
fn set_l0(config: &mut TrainConfig, l0: f64, also_k: bool) {
    config.l0 = Some(l0);
    if also_k && l0 >= 1.0 {
        config.k = l0.round() as usize;
    }
}

/// Names have to be folders' and different; all read the same batches.
fn check(all: &[Wanted]) -> Result<(), String> {
    let Some(first) = all.first() else { return Err("holds no dictionary; give it a [[sae]] table".to_owned()) };
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for (at, Wanted { name, config, .. }) in all.iter().enumerate() {
        let fits = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if name.is_empty() || name.starts_with('.') || name == "finished" || !name.chars().all(fits) {
            return Err(format!("`{name}` cannot be the name of a folder; use letters, digits, points and dashes"));
        }
        if let Some(before) = seen.insert(name, at) {
            let (a, b) = (before + 1, at + 1);
            return Err(format!("dictionaries {a} and {b} are both called `{name}`; give their tables a name each"));
        }
        if config.batch != first.config.batch {
            let (own, other, before) = (config.batch, first.config.batch, &first.name);
            return Err(format!(
                "`{name}` asks for batches of {own} rows, `{before}` of {other}; one grid has one size"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(text: &str) -> Result<Vec<Wanted>, String> {
        super::expand(text, &TrainConfig::default(), None)
    }

    #[test]
    fn a_grid_is_every_combination_named_by_what_it_says() {
        let wanted = expand(
            "[[sae]]\narch = ['topk', 'batch-topk']\nk = [8, 16]\nseed = [0, 1]\nd-sae = 512\n\
             [[sae]]\nname = 'nested'\narch = 'matryoshka'\nprefixes = 'random:4'\nl0 = 12\n[[sae]]\nlr = [1e-3, 0.01]",
        )
        .expect("fits");
        let names: Vec<&str> = wanted.iter().map(|wanted| wanted.name.as_str()).collect();
        assert_eq!(names.len(), 11);
        assert_eq!(names[..3], ["topk-k8-d512-s0", "topk-k8-d512-s1", "topk-k16-d512-s0"]);
        assert_eq!(names[8..], ["nested", "topk-lr0.001", "topk-lr0.01"]);
        let nested = &wanted[8].config;
        assert_eq!((nested.kind, nested.k, nested.l0), (Kind::Matryoshka, 12, Some(12.0)));
        assert_eq!(nested.prefixes, Some(Prefixes::Random(4)));
        assert_eq!((wanted[7].config.kind, wanted[7].config.k, wanted[7].config.seed), (Kind::BatchTopK, 16, 1));
    }

    #[test]
    fn what_cannot_be_a_grid_is_refused_by_name() {
        let refused = |text: &str, expected: &str| {
            let message = expand(text).expect_err("refused");
            assert!(message.contains(expected), "`{message}` does not say `{expected}`");
        };
        refused("[[sae]]\nk = [8, 8]", "both called `topk-k8`");
        refused("[[sae]]\nbatch = [256, 512]", "asks for batches of 512 rows");
        refused("[[sae]]\nname = '../x'", "cannot be the name of a folder");
        refused("[[sae]]\nname = 'finished'", "cannot be the name of a folder");
        refused("[[sae]]\narch = 'top-k'", "`top-k` is none of");
        refused("[[sae]]\nwidth = 3", "unknown field `width`");
        refused("[[sae]]\nk = []", "holds no dictionary");
        refused("sae = []", "holds no dictionary");
        // Refused by arithmetic: 64 milliards of them are never made.
        let many = format!("[{}1]", "1, ".repeat(4000));
        refused(&format!("[[sae]]\nk = {many}\nseed = {many}\nd-sae = {many}"), "more than 4096 dictionaries");
    }
}
