//! How pieces become text: capitals, `a` or `an`, single spaces, and the annotated ranges.

use untangle_schema::{Annotation, ConceptId, ConceptKind};

/// A text in the making, with the annotations closed so far.
#[derive(Default)]
pub(crate) struct Writer {
    pub(crate) text: String,
    pub(crate) annotations: Vec<Annotation>,
    open: Vec<Open>,
    /// Behind the `a` that becomes `an` if a vowel follows.
    article: Option<usize>,
    /// Whether the next letter is a capital.
    capital: bool,
    /// Whether characters are taken as they come.
    raw: bool,
    quoted: bool,
}

/// A range whose end is not written yet.
struct Open {
    /// Set by the first visible character.
    start: Option<usize>,
    decided: Option<usize>,
}

impl Writer {
    pub(crate) fn new() -> Self {
        Self { capital: true, ..Self::default() }
    }

    pub(crate) fn push(&mut self, text: &str) {
        for c in text.chars() {
            if self.raw { self.push_visible(c, false) } else { self.push_prose(c) }
        }
    }

    fn push_prose(&mut self, c: char) {
        match c {
            ' ' => self.push_space(),
            '\n' => {
                self.text.truncate(self.text.trim_end_matches(' ').len());
                self.text.push('\n');
                self.capital = true;
            }
            '"' => {
                self.quoted = !self.quoted;
                self.push_visible(c, false);
                self.capital = self.quoted;
            }
            _ => {
                self.push_visible(c, self.capital);
                self.capital &= !c.is_alphanumeric();
            }
        }
    }

    /// A space, unless one stands already. Behind `.`, `!`, `?` and `."` a sentence begins; `!"` and `?"` may go on
    /// (`"Where?" asked Tom`), so there the grammar says it.
    fn push_space(&mut self) {
        if self.text.is_empty() || self.text.ends_with([' ', '\n']) {
            return;
        }
        self.capital |= self.text.ends_with(['.', '!', '?']) || self.text.ends_with(".\"");
        self.text.push(' ');
    }

    fn push_visible(&mut self, c: char, capital: bool) {
        if let Some(at) = self.article.filter(|_| c.is_alphanumeric()) {
            if matches!(c.to_ascii_lowercase(), 'a' | 'e' | 'i' | 'o' | 'u') {
                self.text.insert(at, 'n');
            }
            self.article = None;
        }
        if !c.is_whitespace() {
            let here = self.text.len();
            self.open.iter_mut().filter(|open| open.start.is_none()).for_each(|open| open.start = Some(here));
        }
        if capital { self.text.extend(c.to_uppercase()) } else { self.text.push(c) }
    }

    /// Writes `a`, which becomes `an` before a vowel.
    pub(crate) fn article(&mut self) {
        self.push("a");
        self.article = Some(self.text.len());
    }

    /// The next letter begins a sentence.
    pub(crate) fn begin_sentence(&mut self) {
        self.capital = true;
    }

    /// Takes the following characters as they come, or stops doing so.
    pub(crate) fn set_raw(&mut self, raw: bool) {
        self.raw = raw;
        self.capital = false;
    }

    /// Opens an annotated range at the next visible character.
    pub(crate) fn open(&mut self) {
        self.open.push(Open { start: None, decided: None });
    }

    /// From here on, what the innermost open range stands for can be told.
    pub(crate) fn decide(&mut self) {
        let here = self.text.len();
        if let Some(open) = self.open.last_mut() {
            open.decided = Some(here);
        }
    }

    /// Closes the innermost open range for these concepts. Unless [`Writer::decide`] was called inside, a mention can
    /// be told at its end and a scope at the end of its first word or sign.
    pub(crate) fn close(&mut self, concepts: impl Iterator<Item = (ConceptId, ConceptKind)>, decidable: bool) {
        let Some(Open { start: Some(start), decided }) = self.open.pop() else { return };
        let end = self.text.trim_end().len();
        for (concept, kind) in concepts {
            let by_kind = || match kind {
                ConceptKind::Mention => end,
                ConceptKind::Scope => start + first_piece(&self.text[start..end]),
            };
            let from = decided.unwrap_or_else(by_kind) as u32;
            let (start, end, decidable_from) = (start as u32, end as u32, decidable.then_some(from));
            self.annotations.push(Annotation { concept, kind, start, end, decidable_from });
        }
    }

    /// Annotates what was held from `start` up to here and could be told after `told` bytes.
    pub(crate) fn annotate(&mut self, concepts: Vec<(ConceptId, ConceptKind)>, start: usize, told: Option<usize>) {
        let start = start + (self.text[start..].len() - self.text[start..].trim_start().len());
        let end = self.text.trim_end().len();
        if start < end {
            let decidable_from = told.map(|at| at.min(end) as u32);
            let (start, end) = (start as u32, end as u32);
            let annotation = |(concept, kind)| Annotation { concept, kind, start, end, decidable_from };
            self.annotations.extend(concepts.into_iter().map(annotation));
        }
    }
}

/// Bytes of the first word, or of the first sign.
fn first_piece(text: &str) -> usize {
    let word = text.len() - text.trim_start_matches(char::is_alphanumeric).len();
    if word > 0 { word } else { text.chars().next().map_or(0, char::len_utf8) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(pieces: &[&str]) -> String {
        let mut writer = Writer::new();
        pieces.iter().for_each(|piece| if *piece == "{a}" { writer.article() } else { writer.push(piece) });
        writer.text
    }

    #[test]
    fn capitals_and_articles() {
        assert_eq!(written(&["she saw ", "{a}", " owl. ", "", " it sang."]), "She saw an owl. It sang.");
        assert_eq!(written(&["{a}", " ", " dog said \"hello.\" it ran"]), "A dog said \"Hello.\" It ran");
        assert_eq!(written(&["\"where?\" asked tom. \nend"]), "\"Where?\" asked tom.\nEnd");
    }

    #[test]
    fn ranges_begin_and_end_with_a_visible_character() {
        let mut writer = Writer::new();
        writer.push("take");
        writer.open();
        writer.push(" because it rained ");
        writer.close([(ConceptId(7), ConceptKind::Scope)].into_iter(), true);
        let Annotation { start, end, decidable_from, .. } = writer.annotations[0];
        assert_eq!((start, end, decidable_from), (5, 22, Some(12)));
    }

    #[test]
    fn an_article_does_not_move_the_range_behind_it() {
        let mut writer = Writer::new();
        writer.article();
        writer.push(" ");
        writer.open();
        writer.push("owl");
        writer.close([(ConceptId(1), ConceptKind::Mention)].into_iter(), true);
        let Annotation { start, end, decidable_from, .. } = writer.annotations[0];
        assert_eq!((&writer.text[..], start, end, decidable_from), ("An owl", 3, 6, Some(6)));
    }
}
