//! The Pareto front of a grid while it forms: as a small plot, and in one line.

use untangle_sae::metrics::fraction_text;
use untangle_schema::event::Compared;

/// Columns and rows of the plot.
const WIDTH: usize = 48;
const HEIGHT: usize = 9;
/// Dictionaries that are named at most.
const NAMED: usize = 6;

/// Those of the front, by active features.
fn best<'a>(points: &'a [Compared<'a>]) -> Vec<&'a Compared<'a>> {
    let mut best: Vec<_> = points.iter().filter(|point| point.best).collect();
    best.sort_by(|a, b| a.l0.total_cmp(&b.l0));
    best
}

/// `front: topk-k8 (l0 8.0) fvu 0.0617, …`
pub(super) fn line(points: &[Compared<'_>]) -> String {
    let best = best(points);
    let named: Vec<_> = best
        .iter()
        .take(NAMED)
        .map(|p| format!("{} (l0 {:.1}) fvu {}", p.name, p.l0, fraction_text(p.fvu, 4)))
        .collect();
    let more = if best.len() > NAMED { format!(", and {} more", best.len() - NAMED) } else { String::new() };
    format!("front: {}{more}", named.join(", "))
}

/// Where `value` lies between the extremes, in decades, from 0 to `cells - 1`.
fn cell(value: f64, extremes: (f64, f64), cells: usize) -> usize {
    let place = (value.ln() - extremes.0.ln()) / (extremes.1.ln() - extremes.0.ln());
    if place.is_finite() { (place.clamp(0.0, 1.0) * (cells - 1) as f64).round() as usize } else { 0 }
}

fn extremes(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values.fold((f64::INFINITY, 0.0), |(low, high), v| (low.min(v), high.max(v)))
}

/// A plot of FVU over L0, both in decades: `●` is on the front, `·` is not. Below it, the front by name.
pub(super) fn plot(points: &[Compared<'_>]) -> String {
    let placed: Vec<_> = points.iter().filter(|p| p.l0 > 0.0 && p.fvu > 0.0 && p.fvu.is_finite()).collect();
    if placed.is_empty() {
        return String::new();
    }
    let (l0, fvu) = (extremes(placed.iter().map(|p| p.l0)), extremes(placed.iter().map(|p| p.fvu)));
    let mut cells = vec![vec![' '; WIDTH]; HEIGHT];
    // Those of the front last, so that nothing hides them.
    for of_front in [false, true] {
        for point in placed.iter().filter(|point| point.best == of_front) {
            let (x, y) = (cell(point.l0, l0, WIDTH), HEIGHT - 1 - cell(point.fvu, fvu, HEIGHT));
            cells[y][x] = if of_front { '●' } else { '·' };
        }
    }
    let mut text = String::new();
    for (at, row) in cells.iter().enumerate() {
        let label = match at {
            0 => format!("{:.4}", fvu.1),
            _ if at == HEIGHT - 1 => format!("{:.4}", fvu.0),
            _ if at == HEIGHT / 2 => "fvu".to_owned(),
            _ => String::new(),
        };
        text += &format!("\n{label:>9} │{}", row.iter().collect::<String>().trim_end());
    }
    let (low, high) = (format!("{:.1}", l0.0), format!("{:.1}", l0.1));
    let gap = WIDTH.saturating_sub(low.len() + high.len());
    text += &format!("\n{:>9} └{}\n{:>11}{low}{:^gap$}{high}", "", "─".repeat(WIDTH), "", "l0");
    text + "\n" + &line(points)
}

#[cfg(test)]
mod tests {
    use super::*;

    const POINTS: [Compared<'static>; 3] = [
        Compared { name: "b", l0: 32.0, fvu: 0.01, best: true },
        Compared { name: "a", l0: 8.0, fvu: 0.16, best: true },
        Compared { name: "c", l0: 32.0, fvu: 0.04, best: false },
    ];

    #[test]
    fn the_front_runs_from_few_active_features_to_small_errors() {
        assert_eq!(line(&POINTS), "front: a (l0 8.0) fvu 0.1600, b (l0 32.0) fvu 0.0100");
        let plot = plot(&POINTS);
        let rows: Vec<&str> = plot.lines().skip(1).collect();
        assert_eq!(rows[0], format!("{:>9} │●", "0.1600"));
        assert_eq!(rows[HEIGHT - 1], format!("{:>9} │{}●", "0.0100", " ".repeat(WIDTH - 1)));
        // Half way down in decades: 0.04 between 0.01 and 0.16.
        assert_eq!(rows[HEIGHT / 2], format!("{:>9} │{}·", "fvu", " ".repeat(WIDTH - 1)));
        assert!(super::plot(&[]).is_empty());
    }
}
