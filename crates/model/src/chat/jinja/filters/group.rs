//! How do filters order values, and divide them into groups?

use super::super::arguments::{Given, int, truth};
use super::super::budget::{Failure, Result};
use super::super::compare::{equal, sorted as in_order};
use super::super::render::Renderer;
use super::super::sequence::{listed, view};
use super::super::value::{Value, View};
use super::path::{Path, folded};
use std::mem::size_of;

/// The filter's value, none where it is none of these.
pub(super) fn apply(renderer: &mut Renderer<'_>, name: &str, value: &Value, given: &Given) -> Result<Option<Value>> {
    match name {
        "sort" => sorted(renderer, value, given),
        "dictsort" => dictsort(renderer, value, given),
        "groupby" => groupby(renderer, value, given),
        "batch" => batch(renderer, value, given),
        "slice" => slice(renderer, value, given),
        _ => return Ok(None),
    }
    .map(Some)
}

fn sorted(renderer: &mut Renderer<'_>, value: &Value, given: &Given) -> Result<Value> {
    let [reverse, case_sensitive, attribute] = given.bind("sort", ["reverse", "case_sensitive", "attribute"], 0)?;
    let budget = renderer.budget.clone();
    let case_sensitive = truth(case_sensitive.as_ref(), false);
    let paths: Vec<Path> = match &attribute {
        Some(Value::Text(text)) => {
            text.split(',').map(|part| Path::new(&budget, Some(&Value::text(part)))).collect::<Result<_>>()?
        }
        other => vec![Path::new(&budget, other.as_ref())?],
    };
    let mut keyed = Vec::new();
    for item in listed(&budget, value)? {
        let mut keys = Vec::new();
        for path in &paths {
            let key = path.find(renderer, &item, None)?;
            keys.push(folded(&budget, key, case_sensitive)?);
        }
        keyed.push((Value::list(&budget, keys)?, item));
    }
    let keyed = in_order(&budget, keyed, |(key, _)| key.clone(), truth(reverse.as_ref(), false))?;
    Value::list(&budget, keyed.into_iter().map(|(_, item)| item).collect())
}

fn dictsort(renderer: &mut Renderer<'_>, value: &Value, given: &Given) -> Result<Value> {
    let [case_sensitive, by, reverse] = given.bind("dictsort", ["case_sensitive", "by", "reverse"], 0)?;
    let budget = renderer.budget.clone();
    let by = by.unwrap_or_else(|| Value::text("key"));
    let by_value = match by.as_text().map_or("", |by| by) {
        "key" => false,
        "value" => true,
        _ => return Err(Failure::new("You can only sort by either \"key\" or \"value\"")),
    };
    let Value::Dict(dict) = value else {
        return Err(Failure::new(format!("'{}' object has no attribute 'items'", value.type_name())));
    };
    let case_sensitive = truth(case_sensitive.as_ref(), false);
    let mut keyed = Vec::new();
    for ((key, value), pair) in dict.entries().iter().zip(view(&budget, View::Items, dict)?) {
        let key = if by_value { value.clone() } else { key.clone() };
        keyed.push((folded(&budget, key, case_sensitive)?, pair));
    }
    let keyed = in_order(&budget, keyed, |(key, _)| key.clone(), truth(reverse.as_ref(), false))?;
    Value::list(&budget, keyed.into_iter().map(|(_, pair)| pair).collect())
}

fn groupby(renderer: &mut Renderer<'_>, value: &Value, given: &Given) -> Result<Value> {
    let [attribute, default, case_sensitive] = given.bind("groupby", ["attribute", "default", "case_sensitive"], 1)?;
    let budget = renderer.budget.clone();
    let (path, case_sensitive) = (Path::new(&budget, attribute.as_ref())?, truth(case_sensitive.as_ref(), false));
    let default = default.filter(|default| !matches!(default, Value::None));
    let mut keyed = Vec::new();
    for item in listed(&budget, value)? {
        let real = path.find(renderer, &item, default.as_ref())?;
        keyed.push((folded(&budget, real.clone(), case_sensitive)?, real, item));
    }
    let keyed = in_order(&budget, keyed, |(key, ..)| key.clone(), false)?;
    let mut groups: Vec<(Value, Value, Vec<Value>)> = Vec::new();
    for (key, real, item) in keyed {
        match groups.last_mut() {
            Some((last, _, members)) if equal(&budget, last, &key)? => members.push(item),
            _ => groups.push((key, real, vec![item])),
        }
    }
    let tuple = |(_, real, members)| Value::group(&budget, real, members);
    Value::list(&budget, groups.into_iter().map(tuple).collect::<Result<_>>()?)
}

fn batch(renderer: &mut Renderer<'_>, value: &Value, given: &Given) -> Result<Value> {
    let [count, fill] = given.bind("batch", ["linecount", "fill_with"], 1)?;
    let budget = renderer.budget.clone();
    let count = usize::try_from(int(count.as_ref(), 1)?).unwrap_or(0);
    let items = listed(&budget, value)?;
    if count == 0 {
        // Jinja2 never closes such a batch; all is one, with an empty one before it where the count is zero.
        return Err(Failure::new("batches of no elements are not supported"));
    }
    let mut rows: Vec<Vec<Value>> = items.chunks(count).map(<[Value]>::to_vec).collect();
    if let (Some(last), Some(fill)) = (rows.last_mut(), fill)
        && !matches!(fill, Value::None)
    {
        budget.claim_product(count, size_of::<Value>())?;
        last.resize(count, fill);
    }
    let rows = rows.into_iter().map(|row| Value::list(&budget, row)).collect::<Result<_>>()?;
    Value::generator(&budget, rows)
}

fn slice(renderer: &mut Renderer<'_>, value: &Value, given: &Given) -> Result<Value> {
    let [count, fill] = given.bind("slice", ["slices", "fill_with"], 1)?;
    let budget = renderer.budget.clone();
    let items = listed(&budget, value)?;
    let count = int(count.as_ref(), 1)?;
    if count == 0 {
        return Err(Failure::new("integer division or modulo by zero"));
    }
    let count = usize::try_from(count).unwrap_or(0);
    budget.claim_product(count, 2 * size_of::<Value>())?;
    let fill = fill.filter(|fill| !matches!(fill, Value::None));
    let (mut rows, mut from) = (Vec::new(), 0);
    for row in 0..count {
        let extra = row < items.len() % count;
        let until = from + items.len() / count + usize::from(extra);
        let mut taken = items[from..until].to_vec();
        if let (Some(fill), false) = (&fill, extra) {
            taken.push(fill.clone());
        }
        rows.push(Value::list(&budget, taken)?);
        from = until;
    }
    Value::generator(&budget, rows)
}
