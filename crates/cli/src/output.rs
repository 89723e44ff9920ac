//! Results on stdout: text for people, or one JSON object.

use crate::canvas::Canvas;
use crate::terminal::{Visible, visible_line};
use anyhow::Context;
use serde::Serialize;
use std::io::{self, Write};

/// Where results go, and in which form.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    json: bool,
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        Output { json }
    }

    /// Whether the result is asked for as JSON.
    pub(crate) fn is_json(self) -> bool {
        self.json
    }

    /// Prints a result: `value` as one line of JSON, or what `text` writes.
    pub(crate) fn result(
        self,
        value: &impl Serialize,
        text: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> anyhow::Result<()> {
        if self.json {
            let line = serde_json::to_string(value).context("while writing the result as JSON")?;
            return self.write(|out| writeln!(out, "{line}"));
        }
        self.write(text)
    }

    /// Prints a result: `value` as one line of JSON, or what `draw` draws, in colour where stdout is a terminal.
    pub(crate) fn drawing(
        self,
        value: &impl Serialize,
        draw: impl FnOnce(&mut Canvas<'_>) -> io::Result<()>,
    ) -> anyhow::Result<()> {
        if self.json {
            return self.result(value, |_| Ok(()));
        }
        let mut canvas = Canvas::stdout();
        draw(&mut canvas).and_then(|()| canvas.flush()).context("stdout")
    }

    /// Prints text whatever the form; for what has no JSON form.
    pub(crate) fn write(self, text: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> anyhow::Result<()> {
        let mut out = Visible(io::BufWriter::new(io::stdout().lock()));
        text(&mut out).and_then(|()| out.flush()).context("stdout")
    }
}

/// Rows of cells as columns, the first row being the head. Columns of `left` are aligned at their left, others at
/// their right.
pub(crate) fn table(out: &mut dyn Write, rows: &[Vec<String>], left: &[usize]) -> io::Result<()> {
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|cell| visible_line(cell)).collect()).collect();
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|c| c.chars().count()).max();
    for row in &rows {
        let cells = row.iter().enumerate().map(|(column, cell)| {
            let width = width(column).unwrap_or(0);
            if left.contains(&column) { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        writeln!(out, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let mut out = Vec::new();
        table(&mut out, &[row(["name", "fvu", "what"]), row(["a", "0.0616", "x y"])], &[0, 2]).expect("memory");
        assert_eq!(String::from_utf8(out).expect("text"), "name     fvu  what\na     0.0616  x y\n");
    }
}
