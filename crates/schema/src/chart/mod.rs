//! Charts as SVG: lines, bars, points with a front, and points with their spread. Colours are the page's ([`STYLE`] beside
//! [`crate::html::LOOK`]), so that they follow light and dark.

mod scale;

use crate::html::escaped;
pub use scale::{Scale, number};
use std::fmt::Write;

/// How charts look, as part of a page's style sheet.
pub const STYLE: &str = include_str!("chart.css");

const WIDTH: f64 = 460.0;
const HEIGHT: f64 = 250.0;
const LEFT: f64 = 58.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 40.0;

/// What stands at the axes.
#[derive(Clone, Copy, Debug)]
pub struct Labels<'a> {
    /// Above it.
    pub title: &'a str,
    /// What the chart shows, in a sentence.
    pub meaning: &'a str,
    /// At the lower axis.
    pub x: &'a str,
    /// At the left one.
    pub y: &'a str,
}

/// A line, or a point where it is one.
#[derive(Clone, Debug)]
pub struct Series {
    /// What it is of.
    pub name: String,
    /// Where it goes.
    pub points: Vec<(f64, f64)>,
    /// Number of its colour.
    pub colour: usize,
}

/// A drawing area with its axes.
struct Frame {
    x: Scale,
    y: Scale,
    svg: String,
}

impl Frame {
    fn new(labels: Labels<'_>, x: Scale, y: Scale) -> Self {
        let mut svg =
            format!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">\n", escaped(labels.title));
        let mut frame = Frame { x, y, svg: String::new() };
        for tick in y.ticks() {
            let at = frame.y_of(tick).unwrap_or(TOP);
            let (end, text) = (WIDTH - RIGHT, at + 4.0);
            let _ = writeln!(svg, "<path class=\"grid\" d=\"M{LEFT} {at:.1}H{end}\"/>");
            let _ =
                writeln!(svg, "<text x=\"{}\" y=\"{text:.1}\" text-anchor=\"end\">{}</text>", LEFT - 6.0, number(tick));
        }
        for tick in x.ticks() {
            let (at, bottom) = (frame.x_of(tick).unwrap_or(LEFT), HEIGHT - BOTTOM);
            let _ = writeln!(svg, "<path class=\"grid\" d=\"M{at:.1} {bottom}v4\"/>");
            let _ = writeln!(
                svg,
                "<text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
                bottom + 16.0,
                number(tick)
            );
        }
        let (bottom, end, middle) = (HEIGHT - BOTTOM, WIDTH - RIGHT, (LEFT + WIDTH - RIGHT) / 2.0);
        let _ = writeln!(svg, "<path class=\"axis\" d=\"M{LEFT} {TOP}V{bottom}H{end}\"/>");
        let (x, y) = (escaped(labels.x), escaped(labels.y));
        let _ = writeln!(
            svg,
            "<text class=\"name\" x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">{x}</text>",
            HEIGHT - 6.0
        );
        let upright = (TOP + bottom) / 2.0;
        let _ = writeln!(
            svg,
            "<text class=\"name\" transform=\"translate(12 {upright}) rotate(-90)\" text-anchor=\"middle\">{y}</text>"
        );
        frame.svg = svg;
        frame
    }

    fn x_of(&self, value: f64) -> Option<f64> {
        Some(LEFT + self.x.place(value)? * (WIDTH - LEFT - RIGHT))
    }

    fn y_of(&self, value: f64) -> Option<f64> {
        Some(HEIGHT - BOTTOM - self.y.place(value)? * (HEIGHT - TOP - BOTTOM))
    }

    fn at(&self, point: (f64, f64)) -> Option<(f64, f64)> {
        Some((self.x_of(point.0)?, self.y_of(point.1)?))
    }

    fn line(&mut self, points: &[(f64, f64)], class: &str, name: &str) {
        let mut path = String::new();
        for (x, y) in points.iter().filter_map(|point| self.at(*point)) {
            let _ = write!(path, "{}{x:.1} {y:.1}", if path.is_empty() { "M" } else { "L" });
        }
        let _ = writeln!(self.svg, "<path class=\"line {class}\" d=\"{path}\"><title>{}</title></path>", escaped(name));
    }

    fn finish(self, labels: Labels<'_>) -> String {
        let (title, meaning) = (escaped(labels.title), escaped(labels.meaning));
        format!("<figure><h3>{title}</h3>\n{}</svg>\n<figcaption>{meaning}</figcaption></figure>\n", self.svg)
    }
}

/// Lines over a common axis; `decades` is for the values.
pub fn lines(labels: Labels<'_>, series: &[Series], decades: bool) -> String {
    let all = || series.iter().flat_map(|series| &series.points);
    let (x, y) = (Scale::around(all().map(|p| p.0), false), Scale::around(all().map(|p| p.1), decades));
    let mut frame = Frame::new(labels, x, y);
    for Series { name, points, colour } in series {
        frame.line(points, &class("c", *colour), name);
    }
    let mut figure = frame.finish(labels);
    if series.len() > 1 {
        figure = figure.replace("<figcaption>", &format!("{}<figcaption>", legend(series)));
    }
    figure
}

/// Colours that the page has.
const COLOURS: usize = 8;

/// The class of a colour; the second time round, lines are broken.
fn class(kind: &str, colour: usize) -> String {
    let again = if (colour / COLOURS) % 2 == 1 { " again" } else { "" };
    format!("{kind}{}{again}", colour % COLOURS)
}

fn legend(series: &[Series]) -> String {
    let one =
        |series: &Series| format!("<span class=\"{}\">{}</span>", class("k", series.colour), escaped(&series.name));
    format!("<p class=\"legend\">{}</p>", series.iter().map(one).collect::<Vec<_>>().join(" "))
}

/// Bars of equal width that begin at `first`, `width` wide; `about` says of a bar what its count and its two ends mean.
pub fn bars(
    labels: Labels<'_>,
    first: f64,
    width: f64,
    counts: &[u64],
    about: &dyn Fn(u64, f64, f64) -> String,
) -> String {
    let x = Scale::between(first, first + width * counts.len().max(1) as f64);
    let mut frame = Frame::new(labels, x, Scale::around(counts.iter().map(|n| *n as f64), false));
    for (at, &count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        let from = first + at as f64 * width;
        let corners = (frame.at((from, count as f64)), frame.at((from + width, 0.0)));
        if let (Some((left, top)), Some((right, bottom))) = corners {
            let (w, h) = ((right - left - 0.6).max(0.4), bottom - top);
            let _ = writeln!(
                frame.svg,
                "<rect class=\"bar\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{w:.1}\" height=\"{h:.1}\"><title>{}</title></rect>",
                escaped(&about(count, from, from + width)),
            );
        }
    }
    frame.finish(labels)
}

/// Points with names, in decades both ways; those of the front are joined by a line, which has a name; `about` says what the
/// place of a point means.
pub fn points(
    labels: Labels<'_>,
    series: &[Series],
    (front, name): (&[usize], &str),
    about: &dyn Fn(f64, f64) -> String,
) -> String {
    let all = || series.iter().flat_map(|series| &series.points);
    let mut frame =
        Frame::new(labels, Scale::around(all().map(|p| p.0), true), Scale::around(all().map(|p| p.1), true));
    let joined: Vec<(f64, f64)> = front.iter().filter_map(|at| series[*at].points.first().copied()).collect();
    frame.line(&joined, "front", name);
    for Series { name, points, colour } in series {
        let placed: Vec<_> = points.iter().filter_map(|point| frame.at(*point)).collect();
        for (x, y) in placed {
            let about = points.first().map_or_else(String::new, |point| about(point.0, point.1));
            let _ = writeln!(
                frame.svg,
                "<circle class=\"d{}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4.5\"><title>{}: {about}</title></circle>",
                colour % COLOURS,
                escaped(name)
            );
        }
    }
    frame.finish(labels)
}

/// A value with how far it could have come out differently.
#[derive(Clone, Copy, Debug)]
pub struct Spread {
    /// Where it stands along the lower axis.
    pub x: f64,
    /// The value.
    pub y: f64,
    /// Its interval, where it has one.
    pub between: Option<(f64, f64)>,
}

/// Values of one kind, joined in their order.
#[derive(Clone, Debug)]
pub struct Measured {
    /// What they are of.
    pub name: String,
    /// The values.
    pub values: Vec<Spread>,
    /// Number of their colour.
    pub colour: usize,
}

/// Which axes go in decades; what is 0 or less has no place on these.
#[derive(Clone, Copy, Debug, Default)]
pub struct Decades {
    /// The lower one.
    pub x: bool,
    /// The left one.
    pub y: bool,
}

/// Values with their intervals over a common axis; `level` is drawn across, with what it is.
pub fn measured(labels: Labels<'_>, decades: Decades, all: &[Measured], level: Option<(f64, &str)>) -> String {
    let values = || all.iter().flat_map(|one| &one.values);
    let ends = values().flat_map(|value| [Some(value.y), value.between.map(|(_, high)| high)]).flatten();
    let heights = ends.chain(level.map(|(level, _)| level));
    let mut frame =
        Frame::new(labels, Scale::around(values().map(|value| value.x), decades.x), Scale::around(heights, decades.y));
    if let Some((level, name)) = level {
        let across = [(frame.x.low(), level), (frame.x.high(), level)];
        frame.line(&across, "front", name);
    }
    for Measured { name, values, colour } in all {
        let joined: Vec<(f64, f64)> = values.iter().map(|value| (value.x, value.y)).collect();
        frame.line(&joined, &class("c", *colour), name);
        for value in values {
            frame.value(value, name, *colour);
        }
    }
    let figure = frame.finish(labels);
    let names: Vec<Series> =
        all.iter().map(|one| Series { name: one.name.clone(), points: Vec::new(), colour: one.colour }).collect();
    figure.replace("<figcaption>", &format!("{}<figcaption>", legend(&names)))
}

impl Frame {
    /// A point with its interval.
    fn value(&mut self, value: &Spread, name: &str, colour: usize) {
        let Some((x, y)) = self.at((value.x, value.y)) else { return };
        let ends = value.between.and_then(|(low, high)| Some((self.y_of(low)?, self.y_of(high)?)));
        if let Some((low, high)) = ends {
            let _ =
                writeln!(self.svg, "<path class=\"line {}\" d=\"M{x:.1} {low:.1}V{high:.1}\"/>", class("c", colour));
        }
        let _ = writeln!(
            self.svg,
            "<circle class=\"d{}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\"><title>{}: {} at {}</title></circle>",
            colour % COLOURS,
            escaped(name),
            number(value.y),
            number(value.x)
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_stands_where_it_is_with_its_interval_and_its_name_as_text() {
        let labels = Labels { title: "t", meaning: "m", x: "x", y: "y" };
        let values =
            vec![Spread { x: 0.0, y: 0.0, between: None }, Spread { x: 2.0, y: 1.0, between: Some((0.5, 2.0)) }];
        let svg = measured(
            labels,
            Decades::default(),
            &[Measured { name: "<a>".to_owned(), values, colour: 1 }],
            Some((1.0, "bound")),
        );
        // The axes go from 0 to 2: the second value stands at the right end, half way up.
        assert!(svg.contains("cx=\"446.0\" cy=\"111.0\""), "{svg}");
        assert!(svg.contains("M446.0 160.5V12.0"), "{svg}");
        assert!(svg.contains("<title>bound</title>") && svg.contains("&lt;a&gt;: 1 at 2") && !svg.contains("<a>"));
    }
}
