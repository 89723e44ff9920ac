//! Which characters of a text stand outside quotation marks?
//!
//! A mark opens where no letter or digit stands before it and the same mark comes again; that closes it. A doubled `'` within
//! `'…'` stands for one. Marks that do not open are characters like others, so that `don't` needs no care.

/// What to say where a word of a label was taken for one of the grammar.
pub(super) const OF_A_LABEL: &str =
    "a label in which `at`, `when` or `and` is a word stands in quotation marks: 'a cat at home'";

/// A text and which of its bytes stand outside quotation marks.
pub(super) struct Scan<'a> {
    text: &'a str,
    outside: Vec<bool>,
}

impl<'a> Scan<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let mut outside = vec![true; text.len()];
        let mut before = ' ';
        let mut rest = text.char_indices();
        while let Some((at, letter)) = rest.next() {
            let opens = matches!(letter, '\'' | '"') && !before.is_alphanumeric();
            if let Some(end) = opens.then(|| closing(text, at, letter)).flatten() {
                outside[at..=end].fill(false);
                rest.by_ref().take_while(|(inner, _)| *inner < end).for_each(drop);
            }
            before = letter;
        }
        Self { text, outside }
    }

    /// Offsets of `part` outside quotation marks.
    pub(super) fn find(&self, part: &'a str) -> impl Iterator<Item = usize> + '_ {
        let free = |at: &usize| self.outside[*at..*at + part.len()].iter().all(|outside| *outside);
        self.text.match_indices(part).map(|(at, _)| at).filter(free)
    }

    /// The pieces between the places of `part` outside quotation marks.
    pub(super) fn split(&self, part: &'a str) -> Vec<&'a str> {
        let mut pieces = Vec::new();
        let mut start = 0;
        for at in self.find(part).filter(|at| *at >= start).collect::<Vec<_>>() {
            if at >= start {
                pieces.push(&self.text[start..at]);
                start = at + part.len();
            }
        }
        pieces.push(&self.text[start..]);
        pieces
    }

    /// What stands before and behind the first `part` outside quotation marks.
    pub(super) fn split_once(&self, part: &'a str) -> Option<(&'a str, &'a str)> {
        let at = self.find(part).next()?;
        Some((&self.text[..at], &self.text[at + part.len()..]))
    }
}

/// Where the mark that opens at `open` closes.
fn closing(text: &str, open: usize, mark: char) -> Option<usize> {
    let mut at = open + 1;
    loop {
        at += text[at..].find(mark)?;
        let doubled = mark == '\'' && text[at + 1..].starts_with(mark);
        if !doubled {
            return Some(at);
        }
        at += 2;
    }
}

/// The text within `'…'`, where the whole of it is so written.
pub(super) fn unquoted(text: &str) -> Option<String> {
    let whole = text.starts_with('\'') && closing(text, 0, '\'') == Some(text.len() - 1);
    whole.then(|| text[1..text.len() - 1].replace("''", "'"))
}

/// A text so written that it is read as one.
pub(super) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_within_marks_are_text() {
        let split = |text: &'static str| Scan::new(text).split(":");
        assert_eq!(split("a:b"), ["a", "b"]);
        assert_eq!(split("'a:b':c"), ["'a:b'", "c"]);
        assert_eq!(split("\":\" / \"=\":add"), ["\":\" / \"=\"", "add"]);
        assert_eq!(split("don't:do"), ["don't", "do"]);
        assert_eq!(split("'it''s: so':c"), ["'it''s: so'", "c"]);
        assert_eq!(split("'never closed:c"), ["'never closed", "c"]);
        assert_eq!(split("é':'x"), ["é'", "'x"]);
    }

    #[test]
    fn what_is_quoted_is_read_again() {
        for text in ["", "'", "a", "it's", "''", " at ", "'a'", "é'"] {
            assert_eq!(unquoted(&quoted(text)).as_deref(), Some(text));
        }
        assert_eq!((unquoted("a"), unquoted("'a' 'b'"), unquoted("'")), (None, None, None));
    }
}
