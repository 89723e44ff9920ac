//! What reaches a terminal, or a program that reads what we print: the one place where control characters are made visible.
//!
//! Labels, tokens, settings, names of files and quotations in errors come from elsewhere. Passed on as they are, an escape
//! sequence in them could set the terminal's title, clear what stands there or fill the clipboard, and a change of
//! direction could make one text look like another (Boucher and Anderson, "Trojan Source", USENIX Security 2023). So all
//! that is printed, on stdout and on stderr, passes [`visible`].

use std::borrow::Cow;
use std::io::{self, Write};

/// Whether a character does something to the terminal, or to the order in which others are shown, instead of being shown.
fn acts(c: char) -> bool {
    match c {
        // Line breaks and tabs are part of plain text.
        '\n' | '\t' => false,
        // Marks, embeddings, overrides and isolates of direction; separators of lines and paragraphs.
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{206f}' => true,
        // C0, DEL and C1.
        c => c.is_control(),
    }
}

/// The text with `\u001b` and the like in the place of characters that act. JSON that holds them within strings keeps its
/// value, for JSON spells them in the same way.
pub(crate) fn visible(text: &str) -> Cow<'_, str> {
    if !text.chars().any(acts) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match acts(c) {
            true => shown.push_str(&format!("\\u{:04x}", u32::from(c))),
            false => shown.push(c),
        }
    }
    Cow::Owned(shown)
}

/// As [`visible`], on one line: a message, or a cell of a table.
pub(crate) fn visible_line(text: &str) -> String {
    visible(text).replace('\n', "\\n").replace('\t', "\\t")
}

/// One line on stderr; a closed stderr is no reason to stop working.
pub(crate) fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{}", visible(line));
}

/// Writes text to `inner` with what acts made visible. Each call is given whole characters, as `write!` does.
pub(crate) struct Visible<W: Write>(pub(crate) W);

impl<W: Write> Write for Visible<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write_all(visible(&String::from_utf8_lossy(bytes)).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_acts_is_seen_and_the_rest_is_left_alone() {
        assert_eq!(visible("a\u{1b}]0;x\u{7}\u{9b}2J\r\u{7f}"), "a\\u001b]0;x\\u0007\\u009b2J\\u000d\\u007f");
        assert_eq!(visible("user\u{202e}txt.exe\u{2066}\u{2028}"), "user\\u202etxt.exe\\u2066\\u2028");
        let plain = "tab\tbreak\n 日本語 العربية é 👩‍🔬 naïve \\u001b";
        assert!(matches!(visible(plain), Cow::Borrowed(same) if same == plain));
        assert_eq!(visible_line("a\nb\tc\u{0}"), "a\\nb\\tc\\u0000");
    }

    #[test]
    fn json_keeps_its_value() {
        let value = serde_json::json!({ "label\u{85}": "a\u{1b}[2J\u{202e}\u{7f}\n\"", "b": ["\u{2029}"] });
        let mut out = Vec::new();
        write!(Visible(&mut out), "{value}").expect("memory");
        assert!(!out.iter().any(u8::is_ascii_control) && out.is_ascii(), "{out:?}");
        assert_eq!(serde_json::from_slice::<serde_json::Value>(&out).expect("JSON"), value);
    }
}
