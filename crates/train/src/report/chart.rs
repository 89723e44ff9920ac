//! Charts as SVG: lines, bars, and points with a front. Colours are the page's, so that they follow light and dark.

use super::scale::{Scale, number};
use super::text::escaped;
use std::fmt::Write;

const WIDTH: f64 = 460.0;
const HEIGHT: f64 = 250.0;
const LEFT: f64 = 58.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 40.0;

/// What stands at the axes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Labels<'a> {
    pub(super) title: &'a str,
    /// What the chart shows, in a sentence.
    pub(super) meaning: &'a str,
    pub(super) x: &'a str,
    pub(super) y: &'a str,
}

/// A line, or a point where it is one.
#[derive(Clone, Debug)]
pub(super) struct Series {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
    /// Number of its colour.
    pub(super) colour: usize,
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
pub(super) fn lines(labels: Labels<'_>, series: &[Series], decades: bool) -> String {
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

/// Bars of equal width that begin at `first`, `width` wide.
pub(super) fn bars(labels: Labels<'_>, first: f64, width: f64, counts: &[u64]) -> String {
    let x = Scale::between(first, first + width * counts.len().max(1) as f64);
    let mut frame = Frame::new(labels, x, Scale::around(counts.iter().map(|n| *n as f64), false));
    for (at, &count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        let from = first + at as f64 * width;
        let corners = (frame.at((from, count as f64)), frame.at((from + width, 0.0)));
        if let (Some((left, top)), Some((right, bottom))) = corners {
            let (w, h) = ((right - left - 0.6).max(0.4), bottom - top);
            let _ = writeln!(
                frame.svg,
                "<rect class=\"bar\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{w:.1}\" height=\"{h:.1}\"><title>{count} features \
                 fire on 1 of {} to 1 of {} rows</title></rect>",
                number(10f64.powf(-from - width)),
                number(10f64.powf(-from)),
            );
        }
    }
    frame.finish(labels)
}

/// Points with names, in decades both ways; `front` are joined by a line.
pub(super) fn points(labels: Labels<'_>, series: &[Series], front: &[usize]) -> String {
    let all = || series.iter().flat_map(|series| &series.points);
    let mut frame =
        Frame::new(labels, Scale::around(all().map(|p| p.0), true), Scale::around(all().map(|p| p.1), true));
    let joined: Vec<(f64, f64)> = front.iter().filter_map(|at| series[*at].points.first().copied()).collect();
    frame.line(&joined, "front", "no other has both fewer active features and a smaller error");
    for Series { name, points, colour } in series {
        let placed: Vec<_> = points.iter().filter_map(|point| frame.at(*point)).collect();
        for (x, y) in placed {
            let about = points.first().map_or_else(String::new, |p| format!("L0 {}, FVU {}", number(p.0), number(p.1)));
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
