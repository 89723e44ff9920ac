//! Dose and response as a page that opens from disk: curves, the table behind them, and what was written.

use super::arm::{Arm, MAX_PERPLEXITY};
use super::dose::{Curve, CurveKind, Dose, Point};
use std::fs::File;
use std::io::Read;
use untangle_schema::chart::{self, Decades, Labels, Measured, Spread, measured, number};
use untangle_schema::html::{LOOK, escaped};
use untangle_store::Artefact;

const STYLE: &str = include_str!("dose_page.css");

/// A page, as an output.
pub const DOSE_PAGE: Artefact = Artefact {
    name: "a page of `untangle study`",
    is_folder: false,
    is_at: |path| {
        let mut begins = Vec::new();
        File::open(path)?.take(1 << 10).read_to_end(&mut begins)?;
        Ok(String::from_utf8_lossy(&begins).contains(MARK))
    },
};

/// By which a page is known.
const MARK: &str = "<meta name=\"generator\" content=\"untangle study\">";

/// What a page says beside the figures.
#[derive(Clone, Copy, Debug)]
pub struct DosePage<'a> {
    /// The concept.
    pub concept: &'a str,
    /// The model.
    pub model: &'a str,
    /// What is steered, in words.
    pub steered: &'a str,
    /// What shows that a text is about the concept.
    pub sign: &'a str,
    /// The unit of the strengths.
    pub unit: &'a str,
    /// What the model is told that is not steered.
    pub instruction: &'a str,
    /// The tokens whose log-odds are followed.
    pub followed: &'a [String],
    /// The strength at which the interventions leave the model as it is; none where there is no one such.
    pub neutral: Option<f32>,
    /// The command that made it.
    pub command: &'a str,
}

/// What a chart shows of an arm, beside the model itself.
type Figure = fn(&Arm, &Arm) -> Option<Spread>;

impl CurveKind {
    /// How a curve is called.
    pub fn name(self) -> &'static str {
        match self {
            CurveKind::Steered => "steered",
            CurveKind::Random => "random directions",
            CurveKind::Others => "other features",
            CurveKind::Vector => "mean-difference vector",
            CurveKind::Told => "plain instruction",
        }
    }
}

/// The page.
pub fn html(page: &DosePage<'_>, dose: &Dose) -> String {
    let title = format!("How far can \u{201c}{}\u{201d} be turned up?", escaped(page.concept));
    let body = [
        format!(
            "<h1>{title}</h1>\n<p class=\"sub\">{} steered in <code>{}</code>.</p>\n",
            escaped(page.steered),
            escaped(page.model)
        ),
        format!("<p class=\"answer\">{}</p>\n", escaped(&answer(page, dose))),
        format!("<div class=\"charts\">\n{}</div>\n", charts(page, dose)),
        table(page, dose),
        samples(dose),
        notes(page),
    ]
    .concat();
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         {MARK}\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title}</title>\n\
         <style>\n{LOOK}{}{STYLE}</style>\n</head>\n<body>\n<main>\n{body}</main>\n</body>\n</html>\n",
        chart::STYLE
    )
}

/// The usable window and the strength that serves best, in sentences.
pub fn answer(page: &DosePage<'_>, dose: &Dose) -> String {
    let unit = page.unit;
    let strength = |value: f32| format!("{}{unit}", number(f64::from(value)));
    let window = dose.window.map(|window| {
        let to = match window.surely_to {
            Some(surely) if surely == window.possibly_to => String::new(),
            Some(surely) => {
                format!(
                    " (to {} or {}, at the ends of perplexity's interval)",
                    strength(surely),
                    strength(window.possibly_to)
                )
            }
            None => " (or nowhere, at the upper end of perplexity's interval)".to_owned(),
        };
        match window.from == window.to {
            true => format!("Of these strengths, {} alone is usable{to}.", strength(window.from)),
            false => format!("Usable from {} to {}{to}.", strength(window.from), strength(window.to)),
        }
    });
    let chosen = dose.chosen.as_ref().map(|chosen| {
        let share = |arm: &Arm| format!("{} of {}", arm.appears.hits, arm.appears.trials);
        format!(
            " Best is {}: {} continuations are about it, by itself {}, on the half that it was not chosen on.",
            strength(chosen.strength),
            share(&chosen.steered),
            share(&chosen.baseline)
        )
    });
    match (window, chosen) {
        (Some(window), chosen) => window + &chosen.unwrap_or_default(),
        (None, _) => "No strength brings the concept and leaves text: either none brings more than the model writes by itself, or text \
                      falls apart first."
            .to_owned(),
    }
}

fn charts(page: &DosePage<'_>, dose: &Dose) -> String {
    let strength =
        format!("strength{}", if page.unit.is_empty() { String::new() } else { format!(" ({})", page.unit) });
    let against = |title: &str, y: &str, meaning: &str, decades: bool, figure: Figure, level: Option<(f64, &str)>| {
        let of_strength =
            |curve: &&Curve| matches!(curve.kind, CurveKind::Steered | CurveKind::Random | CurveKind::Others);
        let of_point = |point: &Point| {
            let value = figure(&point.arm, &dose.baseline)?;
            Some(Spread { x: f64::from(point.strength?), ..value })
        };
        let own = figure(&dose.baseline, &dose.baseline);
        let level = level.or_else(|| page.neutral.is_none().then_some((own?.y, "the model itself")));
        let own = own.zip(page.neutral).map(|(own, at)| Spread { x: f64::from(at), ..own });
        let curves =
            dose.curves.iter().filter(of_strength).map(|curve| (curve, curve.points.iter().filter_map(of_point)));
        let with_own = |points: Vec<Spread>| {
            let mut points: Vec<Spread> = own.into_iter().chain(points).collect();
            points.sort_by(|a, b| a.x.total_cmp(&b.x));
            points
        };
        let all: Vec<Measured> = curves
            .map(|(curve, points)| curve.kind.measured(with_own(points.collect())))
            .filter(|curve| curve.values.len() > 1)
            .collect();
        if all.is_empty() {
            return String::new();
        }
        measured(Labels { title, meaning, x: &strength, y }, Decades { x: false, y: decades }, &all, level)
    };
    let itself = match page.neutral {
        Some(at) => format!("With 95 % intervals; at {} the model itself.", number(f64::from(at))),
        None => "With 95 % intervals; the line is the model itself.".to_owned(),
    };
    [
        efficiency(dose),
        against("Continuations about it", "% of continuations", &itself, false, about, None),
        against(
            "Perplexity",
            "times the model's own",
            "Of continuations behind a sentence that names the concept, to the model that nobody steers; above the line it is no text any more.",
            true,
            |arm, own| {
                let of = own.perplexity?;
                let between = arm.perplexity_interval.map(|interval| (interval.low / of, interval.high / of));
                Some(Spread { x: 0.0, y: arm.perplexity? / of, between })
            },
            Some((MAX_PERPLEXITY, "no text any more")),
        ),
        against(
            "Repeated 4-grams",
            "% of 4-grams",
            "Of tokens that stood in the same continuation before.",
            false,
            |arm, _| Some(Spread { x: 0.0, y: 100.0 * arm.repetition?, between: None }),
            None,
        ),
        against(
            "Distance from the model itself",
            "nats a token",
            "KL(the model itself || steered) wherever a token was written.",
            true,
            |arm, _| Some(Spread { x: 0.0, y: arm.kl.unwrap_or(0.0), between: None }),
            None,
        ),
        against(
            "What its output label predicts",
            "nats of log-odds",
            "By how much the tokens that the feature's direction raises become likelier wherever a token was written.",
            false,
            |arm, _| Some(Spread { x: 0.0, y: arm.log_odds.unwrap_or(0.0), between: None }),
            None,
        ),
    ]
    .concat()
}

/// What each way brings for its distance from the model itself: the one axis that all of them have.
fn efficiency(dose: &Dose) -> String {
    let of_point = |point: &Point| Some(Spread { x: point.arm.kl?, ..about(&point.arm, &dose.baseline)? });
    let curve = |curve: &Curve| curve.kind.measured(curve.points.iter().filter_map(of_point).collect());
    let labels = Labels {
        title: "What every way brings, and how far it moves the model",
        meaning: "Each point is a strength; the plain instruction is one. Further left at the same height is better.",
        x: "nats a token from the model itself",
        y: "% about it",
    };
    measured(labels, Decades { x: true, y: false }, &dose.curves.iter().map(curve).collect::<Vec<_>>(), None)
}

fn about(arm: &Arm, _: &Arm) -> Option<Spread> {
    let (low, high) = arm.appears.interval();
    Some(Spread { x: 0.0, y: 100.0 * arm.appears.value(), between: Some((100.0 * low, 100.0 * high)) })
}

impl CurveKind {
    fn measured(self, values: Vec<Spread>) -> Measured {
        let colour = match self {
            CurveKind::Steered => 0,
            CurveKind::Random => 1,
            CurveKind::Others => 5,
            CurveKind::Vector => 2,
            CurveKind::Told => 3,
        };
        Measured { name: self.name().to_owned(), values, colour }
    }
}

fn table(page: &DosePage<'_>, dose: &Dose) -> String {
    let head = ["", "strength", "about it", "names it", "repeated", "perplexity", "nats", "log-odds"];
    let head: String = head.iter().map(|cell| format!("<th>{cell}</th>")).collect();
    let own = [row("the model itself", None, &dose.baseline, "")];
    let rows = dose.curves.iter().flat_map(|curve| {
        let unit = if curve.kind == CurveKind::Vector { "x" } else { page.unit };
        curve.points.iter().map(move |point| row(curve.kind.name(), point.strength, &point.arm, unit))
    });
    format!(
        "<h2>All figures</h2>\n<div class=\"wide\"><table><thead><tr>{head}</tr></thead><tbody>\n{}</tbody></table></div>\n",
        own.into_iter().chain(rows).collect::<String>()
    )
}

fn row(name: &str, strength: Option<f32>, arm: &Arm, unit: &str) -> String {
    let (low, high) = arm.appears.interval();
    let or_none = |value: Option<String>| value.unwrap_or_else(|| "\u{2013}".to_owned());
    let cells = [
        name.to_owned(),
        or_none(strength.map(|strength| format!("{}{unit}", number(f64::from(strength))))),
        format!("{:.0} % [{:.0}, {:.0}]", 100.0 * arm.appears.value(), 100.0 * low, 100.0 * high),
        format!("{:.0} %", 100.0 * arm.names.value()),
        or_none(arm.repetition.map(|repetition| format!("{:.1} %", 100.0 * repetition))),
        or_none(arm.perplexity.map(|perplexity| {
            let between = arm.perplexity_interval.map(|of| format!(" [{}, {}]", number(of.low), number(of.high)));
            format!("{}{}", number(perplexity), between.unwrap_or_default())
        })),
        or_none(arm.kl.map(|kl| format!("{kl:.3}"))),
        or_none(arm.log_odds.map(|log_odds| format!("{log_odds:+.2}"))),
    ];
    let cells: String = cells.iter().map(|cell| format!("<td>{}</td>", escaped(cell))).collect();
    format!("<tr>{cells}</tr>\n")
}

fn samples(dose: &Dose) -> String {
    let one = |name: String, arm: &Arm| format!("<dt>{}</dt><dd>{}</dd>\n", escaped(&name), escaped(&arm.sample));
    let own = [one("the model itself".to_owned(), &dose.baseline)];
    let shown = |curve: &&Curve| matches!(curve.kind, CurveKind::Steered | CurveKind::Vector | CurveKind::Told);
    let all = dose.curves.iter().filter(shown).flat_map(|curve| {
        curve.points.iter().map(move |point| {
            let strength = point.strength.map(|strength| format!(" {}", number(f64::from(strength))));
            one(format!("{}{}", curve.kind.name(), strength.unwrap_or_default()), &point.arm)
        })
    });
    format!("<h2>The first continuation of each</h2>\n<dl>\n{}</dl>\n", own.into_iter().chain(all).collect::<String>())
}

fn notes(page: &DosePage<'_>) -> String {
    let followed = match page.followed.is_empty() {
        true => String::new(),
        false => {
            let quoted: Vec<String> = page.followed.iter().map(|token| format!("{token:?}")).collect();
            format!("<p>Tokens that are followed: {}.</p>\n", escaped(&quoted.join(", ")))
        }
    };
    format!(
        "<h2>What is compared</h2>\n<p>About it: continuations {}. Random directions and other features make steps as long as the \
         steered ones. The vector is the mean difference between what the model writes behind a sentence that names the concept and \
         what it writes without. The plain instruction stands before every prompt, and nothing is steered: \u{201c}{}\u{201d}</p>\n{followed}\
         <p class=\"sub\"><code>{}</code></p>\n",
        escaped(page.sign),
        escaped(page.instruction),
        escaped(page.command)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steer::arm::Texts;
    use crate::steer::dose::{Chosen, Window};
    use untangle_schema::Share;

    fn arm(hits: u64) -> Arm {
        Arm {
            appears: Share { hits, trials: 10 },
            kl: Some(0.1),
            sample: "<b>once</b>".to_owned(),
            ..Texts::default().arm()
        }
    }

    #[test]
    fn the_page_says_what_can_be_used_and_escapes_what_was_written() {
        let point = |strength: f32, hits| Point { strength: Some(strength), arm: arm(hits) };
        let curve = |kind, points| Curve { kind, points };
        let dose = Dose {
            baseline: arm(1),
            curves: vec![
                curve(CurveKind::Steered, vec![point(0.5, 5), point(1.0, 9)]),
                curve(CurveKind::Told, vec![Point { strength: None, arm: arm(4) }]),
            ],
            window: Some(Window { from: 0.5, to: 1.0, surely_to: None, possibly_to: 1.0 }),
            chosen: Some(Chosen { strength: 1.0, steered: arm(9), baseline: arm(1) }),
        };
        let page = DosePage {
            concept: "<sea>",
            model: "m",
            steered: "feature 3",
            sign: "with \"sea\"",
            unit: "x",
            instruction: "Write of it.",
            followed: &[],
            neutral: Some(0.0),
            command: "untangle study",
        };
        let html = html(&page, &dose);
        assert!(html.contains("Usable from 0.5x to 1x") && html.contains("Best is 1x: 9 of 10"), "{html}");
        assert!(!html.contains("<sea>") && !html.contains("<b>once") && html.contains("&lt;b&gt;once"));
        assert_eq!(html.matches("<svg").count(), html.matches("</svg>").count());
    }
}
