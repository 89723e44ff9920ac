//! Drawing on stdout: how wide it is, and colour where it is a terminal.
//!
//! Colour is written in one place, [`Canvas::paint`]; all text passes [`Visible`], so that nothing that comes from elsewhere
//! sets a colour or does anything else to the terminal.

use crate::terminal::{Visible, visible_line};
use console::{Alignment, Term, measure_text_width, pad_str, truncate_str};
use std::env;
use std::io::{self, IsTerminal, Write};

/// Columns where stdout is no terminal.
const WIDTH: usize = 80;
/// Fewer columns than that are drawn on as if they were as many.
const NARROWEST: usize = 60;
/// Lines longer than that are hard to read.
const WIDEST: usize = 140;

/// Strengths that are told apart by colour.
const LEVELS: f32 = 4.0;

/// How a piece of text looks where there is colour; without it, all look alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ink {
    /// As everything else.
    Plain,
    /// What the eye should find first.
    Bold,
    /// What it may pass over.
    Soft,
    /// A strength from 1 to 4: underlined, then black on ever deeper orange, so that it can be read on light and dark
    /// terminals and by people who do not see colours.
    Level(u8),
    /// A bar.
    Bar,
    /// Of the first of two texts.
    First,
    /// Of the second.
    Second,
}

impl Ink {
    /// The strength `part` of a whole; plain where there is none.
    pub(crate) fn of(part: f32) -> Self {
        match part > 0.0 {
            true => Ink::Level((part * LEVELS).ceil().clamp(1.0, LEVELS) as u8),
            false => Ink::Plain,
        }
    }

    /// The same for a bar, whose length says how strong: the colour alone, no ground behind it.
    pub(crate) fn as_bar(self) -> Self {
        match self {
            Ink::Level(_) => Ink::Bar,
            other => other,
        }
    }

    /// Parameters of "select graphic rendition" (ECMA-48); the numbers above 15 are those of the 256 colours of xterm.
    fn code(self) -> Option<&'static str> {
        match self {
            Ink::Plain => None,
            Ink::Bold => Some("1"),
            Ink::Soft => Some("2"),
            Ink::Level(0 | 1) => Some("4"),
            Ink::Level(2) => Some("38;5;16;48;5;223"),
            Ink::Level(3) => Some("38;5;16;48;5;215"),
            Ink::Level(_) => Some("1;38;5;16;48;5;208"),
            Ink::Bar => Some("38;5;172"),
            Ink::First => Some("1;36"),
            Ink::Second => Some("1;35"),
        }
    }
}

/// Something to draw on.
pub(crate) struct Canvas<'a> {
    out: Visible<Box<dyn Write + 'a>>,
    colour: bool,
    width: usize,
}

impl Canvas<'static> {
    /// Stdout.
    pub(crate) fn stdout() -> Self {
        let stdout = io::stdout();
        let width = Term::stdout().size_checked().map_or(WIDTH, |(_, columns)| usize::from(columns));
        let colour = wants_colour(stdout.is_terminal(), |name| env::var(name).ok());
        Canvas::new(Box::new(io::BufWriter::new(stdout.lock())), colour, width.clamp(NARROWEST, WIDEST))
    }
}

impl<'a> Canvas<'a> {
    pub(crate) fn new(out: Box<dyn Write + 'a>, colour: bool, width: usize) -> Self {
        Canvas { out: Visible(out), colour, width }
    }

    /// Whether there is colour, so that no other sign need say what it says.
    pub(crate) fn has_colour(&self) -> bool {
        self.colour
    }

    /// Columns of a line.
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// Writes text in a colour.
    pub(crate) fn paint(&mut self, ink: Ink, text: &str) -> io::Result<()> {
        match ink.code().filter(|_| self.colour && !text.is_empty()) {
            None => self.out.write_all(text.as_bytes()),
            Some(code) => {
                write!(self.out.0, "\u{1b}[{code}m")?;
                self.out.write_all(text.as_bytes())?;
                write!(self.out.0, "\u{1b}[0m")
            }
        }
    }
}

impl Write for Canvas<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Whether to draw in colour, by the conventions of `NO_COLOR` and `CLICOLOR_FORCE`.
fn wants_colour(is_terminal: bool, env: impl Fn(&str) -> Option<String>) -> bool {
    let set = |name| env(name).filter(|value| !value.is_empty());
    match () {
        () if set("NO_COLOR").is_some() => false,
        () if set("CLICOLOR_FORCE").is_some_and(|value| value != "0") => true,
        () => is_terminal && set("TERM").is_none_or(|term| term != "dumb"),
    }
}

/// Text on one line in exactly `width` columns, cut or filled at its end.
pub(crate) fn fitted(text: &str, width: usize) -> String {
    pad_str(&cut(text, width), width, Alignment::Left, None).into_owned()
}

/// The same at the right.
pub(crate) fn fitted_right(text: &str, width: usize) -> String {
    pad_str(&cut(text, width), width, Alignment::Right, None).into_owned()
}

/// Text on one line in at most `width` columns.
pub(crate) fn cut(text: &str, width: usize) -> String {
    let line = visible_line(text);
    match measure_text_width(&line) > width {
        true => truncate_str(&line, width, "…").into_owned(),
        false => line,
    }
}

/// A bar of `cells` columns of which `part` is filled, to an eighth of a column; a part that is not nothing is seen.
pub(crate) fn bar(part: f32, cells: usize) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let filled = (part.clamp(0.0, 1.0) * 8.0 * cells as f32).round() as usize;
    let filled = filled.max(usize::from(part > 0.0));
    let bar = "█".repeat(filled / 8) + EIGHTHS[filled % 8];
    let blank = cells - filled.div_ceil(8);
    bar + &" ".repeat(blank)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(colour: bool, draw: impl FnOnce(&mut Canvas<'_>) -> io::Result<()>) -> String {
        let mut bytes = Vec::new();
        let mut canvas = Canvas::new(Box::new(&mut bytes), colour, 80);
        draw(&mut canvas).expect("memory");
        drop(canvas);
        String::from_utf8(bytes).expect("text")
    }

    #[test]
    fn colour_is_what_was_painted_and_nothing_that_text_brings_along() {
        let text = |canvas: &mut Canvas<'_>| canvas.paint(Ink::Level(4), "a\u{1b}[31mb");
        assert_eq!(drawn(true, text), "\u{1b}[1;38;5;16;48;5;208ma\\u001b[31mb\u{1b}[0m");
        assert_eq!(drawn(false, text), "a\\u001b[31mb");
        assert_eq!(drawn(true, |canvas| canvas.paint(Ink::Plain, "a")), "a");
    }

    #[test]
    fn colour_is_for_terminals_unless_the_environment_says_otherwise() {
        let with = |terminal, name: &'static str, value: &'static str| {
            wants_colour(terminal, move |asked| (asked == name).then(|| value.to_owned()))
        };
        assert!(with(true, "", "") && !with(false, "", ""));
        assert!(!with(true, "NO_COLOR", "1") && with(true, "NO_COLOR", "") && !with(true, "TERM", "dumb"));
        assert!(with(false, "CLICOLOR_FORCE", "1") && !with(false, "CLICOLOR_FORCE", "0"));
    }

    #[test]
    fn columns_are_those_that_a_terminal_shows() {
        assert_eq!(
            (fitted("ab", 4), fitted("abcdef", 4), fitted_right("ab", 4)),
            ("ab  ".into(), "abc…".into(), "  ab".into())
        );
        // Wide characters take two columns, combining ones none.
        assert_eq!((fitted("日本語", 5), fitted("e\u{301}a", 3)), ("日本…".into(), "e\u{301}a ".into()));
        assert_eq!(fitted("a\nb\u{7}", 12), "a\\nb\\u0007  ");
    }

    #[test]
    fn bars_are_as_long_as_they_say() {
        assert_eq!(
            (bar(0.5, 4), bar(1.0, 3), bar(0.0, 2), bar(0.001, 2)),
            ("██  ".into(), "███".into(), "  ".into(), "▏ ".into())
        );
        assert_eq!(bar(0.3125, 4), "█▎  ");
        assert_eq!(
            [0.0, 0.01, 0.25, 0.26, 1.0, 2.0].map(Ink::of).map(|ink| ink.code().unwrap_or("")).map(str::len),
            [0, 1, 1, 16, 18, 18]
        );
    }
}
