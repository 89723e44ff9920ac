//! `report.html`: how a training went, on a page that needs nothing but itself. It holds no clock, so that the same run
//! gives the same bytes.

mod measure;
mod text;
mod words;

pub(crate) use measure::{Figures, Measured};

use crate::pareto::{self, Group};
use crate::plan::TrainPlan;
use crate::provenance::{DataProvenance, PartOrigin};
use crate::record::Record;
use measure::{BIN, BINS};
use serde_json::Value;
use text::{escaped, table};
use untangle_sae::metrics::fraction_text;
use untangle_schema::chart::{self, Labels, Series, number};
use untangle_schema::html::LOOK;

/// A finished dictionary as a report shows it.
pub(crate) struct Member {
    /// Name of its folder; empty for the only one.
    pub(crate) name: String,
    pub(crate) plan: TrainPlan,
    pub(crate) data: DataProvenance,
    pub(crate) records: Vec<Record>,
    pub(crate) figures: Figures,
}

/// Points of a curve at most: more than a chart has pixels for.
const POINTS: usize = 240;
/// Dictionaries whose curves are drawn; of more, those of the front.
const MOST_CURVES: usize = 24;
const STYLE: &str = include_str!("page.css");

/// The page of one dictionary. It does not name it, so that it is the same alone and in a grid.
pub(crate) fn single(member: &Member) -> String {
    let Member { plan, data, records, figures, .. } = member;
    let title = format!("A dictionary of {} features", plan.d_sae);
    let body = [
        heading(&title, &about(plan, data, plan.summary(), &data.column)),
        cards(figures, plan, data),
        section("How it was learned", &curves_of(records)),
        section("How often features fire", &density("Density of the features", figures)),
        settings(plan, data),
        glossary(),
    ];
    page(&title, &body.concat())
}

/// The page of a grid.
pub(crate) fn grid(members: &[Member]) -> String {
    let title = format!("{} dictionaries, trained together", members.len());
    let Some(first) = members.first() else { return page(&title, "") };
    let place: Vec<(f64, f64)> = members.iter().map(|m| (m.figures.l0, m.figures.fvu)).collect();
    let subjects: Vec<String> = members.iter().map(|m| m.data.subject()).collect();
    let groups = pareto::by_subject(&subjects, &place);
    let front: Vec<usize> = groups.iter().flat_map(|group| group.front.iter().copied()).collect();
    let all: Vec<usize> = (0..members.len()).collect();
    let drawn = if members.len() > MOST_CURVES { &front[..front.len().min(MOST_CURVES)] } else { &all[..] };
    let densities: String = drawn.iter().map(|at| density(&members[*at].name, &members[*at].figures)).collect();
    let rows = if members.iter().any(|m| m.figures.of_training) { "rows of training" } else { "held-out rows" };
    let fronts: String = groups.iter().map(|group| pareto_chart(members, group, groups.len() > 1, rows)).collect();
    let charts = fronts + &curves_of_many(members, drawn);
    let trained_on = groups.iter().map(|group| group.subject.as_str()).collect::<Vec<_>>().join(", ");
    let body = [
        heading(&title, &about(&first.plan, &first.data, "A grid".to_owned(), &trained_on)),
        section("Which is best", &charts),
        comparison(members, &groups, rows),
        section("How often features fire", &densities),
        glossary(),
    ];
    page(&title, &body.concat())
}

fn section(title: &str, charts: &str) -> String {
    format!("<h2>{title}</h2>\n<div class=\"charts\">\n{charts}</div>\n")
}

/// A figure of a record, with its name.
type Figure = (&'static str, fn(&Record) -> f64);

/// What a single dictionary's training looked like.
fn curves_of(records: &[Record]) -> String {
    const TERMS: [Figure; 3] = [
        ("reconstruction", |r| r.loss),
        ("penalties and partial reconstructions", |r| r.penalty),
        ("revival of the dead", |r| r.aux_loss),
    ];
    let one = |title, y, meaning, of: fn(&Record) -> f64, decades| {
        let series = [Series { name: String::new(), points: curve(records, of), colour: 0 }];
        chart::lines(Labels { title, meaning, x: "steps", y }, &series, decades)
    };
    let terms: Vec<Series> = (TERMS.into_iter().enumerate())
        .map(|(colour, (name, of))| Series { name: name.to_owned(), points: curve(records, of), colour })
        .filter(|series| series.points.iter().any(|(_, value)| *value > 0.0))
        .collect();
    let loss = Labels { title: "Loss", meaning: "Terms of the loss, of normalised rows.", x: "steps", y: "loss" };
    let silent = "Features that were silent for longer than dead_after tokens.";
    [
        one("Error", "running FVU", "The part of the variance that the reconstruction misses.", |r| r.fvu, true),
        one("Active features", "L0", "How many features fire at a token.", |r| r.l0, l0_falls(records)),
        chart::lines(loss, &terms, true),
        one("Dead features", "features", silent, |r| r.dead as f64, false),
        one("Gradient", "norm", "Length of the gradient before clipping.", |r| r.grad_norm, true),
        one("Learning rate", "rate", "How far a step may move a weight.", |r| r.lr, false),
    ]
    .concat()
}

/// The dictionaries of a group; `named` says what they are of where there are several groups.
fn pareto_chart(members: &[Member], group: &Group, named: bool, rows: &str) -> String {
    let point = |at: &usize| {
        let m = &members[*at];
        Series { name: m.name.clone(), points: vec![(m.figures.l0, m.figures.fvu)], colour: *at }
    };
    let series: Vec<Series> = group.members.iter().map(point).collect();
    let within = |at: &usize| group.members.iter().position(|member| member == at);
    let front: Vec<usize> = group.front.iter().filter_map(within).collect();
    let title = if named { format!("Pareto front of {}", group.subject) } else { "Pareto front".to_owned() };
    let meaning = format!(
        "Error and active features on {rows}. The dashed line is the Pareto front; pointing at a dot names it."
    );
    let labels = Labels { title: &title, meaning: &meaning, x: "L0", y: "FVU" };
    let front = (&front[..], "no other has both fewer active features and a smaller error");
    chart::points(labels, &series, front, &|x, y| format!("L0 {}, FVU {}", number(x), number(y)))
}

/// The trainings of several, over each other.
fn curves_of_many(members: &[Member], drawn: &[usize]) -> String {
    let of_front = if drawn.len() < members.len() { "Of the dictionaries on the front. " } else { "" };
    let one = |title, y, meaning: &str, of: fn(&Record) -> f64, decades| {
        let series = |at: &usize| Series {
            name: members[*at].name.clone(),
            points: curve(&members[*at].records, of),
            colour: *at,
        };
        let meaning = format!("{of_front}{meaning}");
        let labels = Labels { title, meaning: &meaning, x: "steps", y };
        chart::lines(labels, &drawn.iter().map(series).collect::<Vec<_>>(), decades)
    };
    let silent = "Features that were silent for longer than dead_after tokens.";
    [
        one("Error", "running FVU", "The part of the variance that the reconstruction misses.", |r| r.fvu, true),
        one("Active features", "L0", "How many features fire at a token.", |r| r.l0, true),
        one("Dead features", "features", silent, |r| r.dead as f64, false),
    ]
    .concat()
}

fn page(title: &str, body: &str) -> String {
    let title = escaped(title);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title}</title>\n\
         <style>\n{LOOK}{}{STYLE}</style>\n</head>\n<body>\n{body}</body>\n</html>\n",
        chart::STYLE
    )
}

fn heading(title: &str, about: &str) -> String {
    format!("<h1>{}</h1>\n<p class=\"sub\">{}</p>\n", escaped(title), escaped(about))
}

/// What it was trained on, in a sentence.
fn about(plan: &TrainPlan, data: &DataProvenance, what: String, trained_on: &str) -> String {
    let model = data.capture.as_ref().map_or_else(String::new, |capture| format!(" of {}", capture.model.name));
    let from = if data.stores.is_empty() { "straight from the model".to_owned() } else { data.stores.join(", ") };
    format!(
        "{what}, on {trained_on}{model} (width {}), {} tokens in {} steps; rows: {from}",
        plan.d_in,
        plan.tokens(),
        plan.schedule.steps
    )
}

fn cards(figures: &Figures, plan: &TrainPlan, data: &DataProvenance) -> String {
    let rows = if figures.of_training { "rows of training" } else { "held-out rows" };
    let card = |name: &str, value: String, more: &str| {
        format!("<div><dt>{name}</dt><dd>{value}<small>{}</small></dd></div>\n", escaped(more))
    };
    let on = format!("on {} ordinary {rows}", figures.rows);
    let aimed = plan.architecture.target_l0().map_or_else(|| on.clone(), |l0| format!("aimed at {}", number(l0)));
    let of = format!("of {} in {} ordinary {rows}", plan.d_sae, figures.rows);
    // Digits are those of `evaluate`.
    let fvu = |value: f64| fraction_text(value, 4);
    let mut cells = vec![
        card("FVU", fvu(figures.fvu), &on),
        card("L0", format!("{:.2}", figures.l0), &aimed),
        card("Dead features", figures.dead.to_string(), &of),
        card("Dense features", figures.dense.to_string(), "that fire on more than a tenth"),
    ];
    if !figures.of_training {
        let on = format!("on {} {rows}, special tokens and outliers among them", figures.rows_all);
        cells.push(card("FVU of all rows", fvu(figures.fvu_all), &on));
    }
    if figures.fvu_parts.len() > 1 {
        let parts = figures.fvu_parts.iter().zip(&data.parts);
        cells.extend(parts.map(|(value, part)| card("FVU of a part", fvu(*value), &part_name(part))));
    }
    format!("<dl class=\"cards\">\n{}</dl>\n", cells.concat())
}

/// What a crosscoder reads, as a card names it.
fn part_name(part: &PartOrigin) -> String {
    part.model.as_ref().map_or_else(|| part.column.clone(), |model| format!("{} of {}", part.column, model.name))
}

/// A figure over the steps, thinned out.
fn curve(records: &[Record], of: impl Fn(&Record) -> f64) -> Vec<(f64, f64)> {
    let stride = records.len().div_ceil(POINTS).max(1);
    let last = records.len().saturating_sub(1);
    let shown = records.iter().enumerate().filter(|(at, _)| at % stride == 0 || *at == last);
    shown.map(|(_, record)| (record.step as f64, of(record))).collect()
}

/// Whether L0 comes from far above, so that it is better seen in decades.
fn l0_falls(records: &[Record]) -> bool {
    let most = records.iter().map(|record| record.l0).fold(0.0, f64::max);
    records.last().is_some_and(|last| most > 5.0 * last.l0)
}

fn density(title: &str, figures: &Figures) -> String {
    // No feature can fire on less than one of the rows.
    let empty = figures.densities.iter().position(|count| *count > 0).unwrap_or(0).min(BINS - 8);
    let meaning = format!(
        "Features by how often they fire; {} never did in {} rows and are not drawn.",
        figures.dead, figures.rows
    );
    let labels = Labels { title, meaning: &meaning, x: "log10 of the density", y: "features" };
    let about = |count: u64, from: f64, to: f64| {
        let one_of = |log10: f64| number(10f64.powf(-log10));
        format!("{count} features fire on 1 of {} to 1 of {} rows", one_of(to), one_of(from))
    };
    chart::bars(labels, -BIN * (BINS - empty) as f64, BIN, &figures.densities[empty..], &about)
}

fn comparison(members: &[Member], groups: &[Group], rows: &str) -> String {
    let several = groups.len() > 1;
    let mut head = ["dictionary", "FVU", "FVU of all rows", "L0", "dead", "dense", "features", "on the front"]
        .map(str::to_owned)
        .to_vec();
    if several {
        head.insert(1, "of".to_owned());
    }
    let row = |(at, member): (usize, &Member)| {
        let Member { name, figures, plan, .. } = member;
        let name = escaped(name);
        let mut row = vec![
            format!("<a href=\"{name}/report.html\">{name}</a>"),
            fraction_text(figures.fvu, 4),
            if figures.of_training { String::new() } else { fraction_text(figures.fvu_all, 4) },
            format!("{:.2}", figures.l0),
            figures.dead.to_string(),
            figures.dense.to_string(),
            plan.d_sae.to_string(),
            if groups.iter().any(|group| group.front.contains(&at)) { "yes" } else { "" }.to_owned(),
        ];
        if several {
            row.insert(1, escaped(&member.data.subject()));
        }
        row
    };
    let rows_of: Vec<Vec<String>> = Some(head).into_iter().chain(members.iter().enumerate().map(row)).collect();
    format!(
        "<h2>All of them</h2>\n<p>Figures are of ordinary {rows}, where nothing else is said.</p>\n{}",
        table(&rows_of)
    )
}

fn settings(plan: &TrainPlan, data: &DataProvenance) -> String {
    let mut rows = vec![["setting", "value", ""].map(str::to_owned).to_vec()];
    let Ok(Value::Object(fields)) = serde_json::to_value(plan) else { return String::new() };
    for (name, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
        rows.push(vec![escaped(name), escaped(&plain(value)), words::meaning(name).to_owned()]);
    }
    let mut of_data = |name: &str, value: String, meaning: &str| {
        rows.push(vec![name.to_owned(), escaped(&value), meaning.to_owned()])
    };
    of_data("rows_per_epoch", data.rows_per_epoch.to_string(), "training rows of one pass");
    of_data("held_out", plain(&data.held_out), "what training did not read and evaluate uses");
    of_data("calibration", plain(&data.calibration), "what neither reads, for thresholds");
    of_data("order_seed", data.order_seed.to_string(), "seed of the order of rows");
    format!(
        "<h2>Settings</h2>\n<p>Everything that decided the result; training.json has it for programs.</p>\n<div class=\"left\">{}</div>",
        table(&rows)
    )
}

/// A value of JSON as people read it.
fn plain(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| format!("{name} {}", plain(value))).collect::<Vec<_>>().join(", ")
        }
        Value::Array(values) => values.iter().map(plain).collect::<Vec<_>>().join(", "),
        Value::Number(n) if n.is_f64() => number(n.as_f64().unwrap_or_default()),
        Value::Null => "none".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn glossary() -> String {
    let one = |(word, meaning): (&str, &str)| format!("<dt>{}</dt><dd>{}</dd>\n", escaped(word), escaped(meaning));
    format!(
        "<h2>What the words mean</h2>\n<dl class=\"words\">\n{}</dl>\n",
        words::WORDS.into_iter().map(one).collect::<String>()
    )
}
