//! What can be said about a row of the corpus: the facts that rules are made of.

use crate::hash;
use crate::vocabulary::{Piece, Vocabulary};
use std::collections::VecDeque;

/// A kind of fact that has one key per row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The token. Key: its id.
    Token,
    /// The token before. Key: its id.
    Previous,
    /// The token after. Key: its id.
    Next,
    /// The token before and the token. Key: both ids.
    Pair,
    /// The word as far as it is spelt, where it took several tokens. Key: hash of its letters in lower case.
    Spelling,
    /// The word before the current one. Key: hash of its letters in lower case.
    PreviousWord,
    /// A word earlier in the context. A row has several; one drawn by hash is counted.
    ContextWord,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Kind; 7] =
        [Kind::Token, Kind::Previous, Kind::Next, Kind::Pair, Kind::Spelling, Kind::PreviousWord, Kind::ContextWord];
}

/// A property that a row has or has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// The token begins with a capital letter.
    Capitalised,
    /// The token is a full stop, an exclamation or a question mark.
    SentenceEnd,
    /// The token comes first in its sentence.
    SentenceStart,
    /// The token has no letter and no digit.
    Punctuation,
    /// The token is a quotation mark.
    Quote,
    /// The token lies between quotation marks.
    Quoted,
    /// The token has a digit.
    Digit,
    /// The token begins a word.
    WordStart,
    /// The token continues a word.
    WordInside,
    /// The token holds a line break.
    LineBreak,
    /// The token follows a special token or opens the context.
    Opening,
    /// The token is among the first sixteen of its context.
    Early,
}

impl Class {
    /// All classes.
    pub const ALL: [Class; 12] = [
        Class::Capitalised,
        Class::SentenceEnd,
        Class::SentenceStart,
        Class::Punctuation,
        Class::Quote,
        Class::Quoted,
        Class::Digit,
        Class::WordStart,
        Class::WordInside,
        Class::LineBreak,
        Class::Opening,
        Class::Early,
    ];

    pub(crate) const fn bit(self) -> u16 {
        1 << self as u16
    }
}

/// How many words back the context reaches.
const CONTEXT_WORDS: usize = 24;
/// Shorter words say little about what a text is about.
const CONTEXT_LETTERS: usize = 3;
/// Positions below this are early.
const EARLY: u32 = 16;

/// The facts of one row. A key of `None` means that the row has no fact of the kind.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// Key of every kind but [`Kind::ContextWord`], in the order of [`Kind::ALL`].
    keys: [Option<u64>; 6],
    /// Hashes of the distinct words before the current one, in the context.
    context: Vec<u64>,
    /// One bit per [`Class`].
    pub(crate) classes: u16,
}

impl Facts {
    /// Of a row of which no more is known than the words before it.
    #[cfg(test)]
    pub(crate) fn of_context(context: Vec<u64>) -> Self {
        Self { context, ..Self::default() }
    }

    /// The key of `kind`; for [`Kind::ContextWord`] the word that `draw` picks.
    pub(crate) fn key(&self, kind: Kind, draw: u64) -> Option<u64> {
        match kind {
            Kind::ContextWord if self.context.is_empty() => None,
            Kind::ContextWord => Some(self.context[(draw % self.context.len() as u64) as usize]),
            _ => self.keys[kind as usize],
        }
    }

    /// The words before the current one, as hashes, each once.
    pub(crate) fn context(&self) -> &[u64] {
        &self.context
    }

    /// Whether the row has the fact (`kind`, `key`).
    pub fn has(&self, kind: Kind, key: u64) -> bool {
        match kind {
            Kind::ContextWord => self.context.contains(&key),
            _ => self.keys[kind as usize] == Some(key),
        }
    }

    /// Whether the row is in `class`.
    pub fn is(&self, class: Class) -> bool {
        self.classes & class.bit() != 0
    }
}

/// The key of a pair of tokens.
pub(crate) fn pair_key(previous: u32, token: u32) -> u64 {
    u64::from(previous) << 32 | u64::from(token)
}

/// Reads a corpus row by row, in order, and says the facts of each.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    vocabulary: &'a Vocabulary,
    row: Option<u64>,
    previous: Option<u32>,
    /// Letters of the word that is being spelt, and how many tokens it took.
    word: String,
    pieces: usize,
    previous_word: String,
    context: VecDeque<(u64, String)>,
    quoted: bool,
    sentence_open: bool,
}

/// One row as the reader needs it.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Row in the store.
    pub row: u64,
    /// Token id.
    pub token: u32,
    /// Token id of the next row, where that lies in the same context.
    pub next: Option<u32>,
    /// Position in the context.
    pub position: u32,
}

impl<'a> Reader<'a> {
    /// A reader that has read nothing.
    pub fn new(vocabulary: &'a Vocabulary) -> Self {
        Self {
            vocabulary,
            row: None,
            previous: None,
            word: String::new(),
            pieces: 0,
            previous_word: String::new(),
            context: VecDeque::new(),
            quoted: false,
            sentence_open: false,
        }
    }

    /// What tokens are read by.
    pub(crate) fn vocabulary(&self) -> &'a Vocabulary {
        self.vocabulary
    }

    /// Reads one row and writes its facts. A row that does not follow the one before, or that opens a context, is read
    /// without a past.
    pub fn read(&mut self, place: Place, facts: &mut Facts) {
        let follows = place.position > 0 && self.row.is_some_and(|row| row + 1 == place.row);
        if !follows {
            self.forget();
        }
        let vocabulary = self.vocabulary;
        let unknown = Piece::default();
        let piece = vocabulary.piece(place.token).unwrap_or(&unknown);
        self.spell(piece);
        self.describe(place, piece, facts);
        self.advance(place, piece);
    }

    /// Words and sentences begin anew.
    fn forget(&mut self) {
        self.previous = None;
        self.word.clear();
        self.pieces = 0;
        self.previous_word.clear();
        self.context.clear();
        self.quoted = false;
        self.sentence_open = false;
    }

    fn spell(&mut self, piece: &Piece) {
        if piece.starts_word || piece.letters.is_empty() {
            self.finish_word();
        }
        if !piece.letters.is_empty() {
            self.word.push_str(&piece.letters);
            self.pieces += 1;
        }
    }

    fn finish_word(&mut self) {
        self.pieces = 0;
        if self.word.is_empty() {
            return;
        }
        std::mem::swap(&mut self.previous_word, &mut self.word);
        self.word.clear();
        if self.previous_word.chars().count() >= CONTEXT_LETTERS {
            if self.context.len() == CONTEXT_WORDS {
                self.context.pop_front();
            }
            self.context.push_back((hash::text(&self.previous_word), self.previous_word.clone()));
        }
    }

    fn describe(&self, place: Place, piece: &Piece, facts: &mut Facts) {
        let spelling = (self.pieces > 1).then(|| hash::text(&self.word));
        let previous_word = (!self.previous_word.is_empty()).then(|| hash::text(&self.previous_word));
        facts.keys = [
            Some(u64::from(place.token)),
            self.previous.map(u64::from),
            place.next.map(u64::from),
            self.previous.map(|previous| pair_key(previous, place.token)),
            spelling,
            previous_word,
        ];
        facts.context.clear();
        for (word, _) in &self.context {
            if !facts.context.contains(word) {
                facts.context.push(*word);
            }
        }
        facts.classes = Class::ALL.into_iter().filter(|c| self.is(*c, place, piece)).map(Class::bit).sum();
    }

    fn is(&self, class: Class, place: Place, piece: &Piece) -> bool {
        let core = piece.core();
        match class {
            Class::Capitalised => core.chars().next().is_some_and(char::is_uppercase),
            Class::SentenceEnd => ends_sentence(core),
            Class::SentenceStart => !self.sentence_open && !piece.letters.is_empty(),
            Class::Punctuation => !core.is_empty() && !core.chars().any(char::is_alphanumeric) && !piece.special,
            Class::Quote => is_quote(core),
            Class::Quoted => self.quoted && !is_quote(core),
            Class::Digit => core.chars().any(|c| c.is_ascii_digit()),
            Class::WordStart => self.pieces == 1,
            Class::WordInside => self.pieces > 1,
            Class::LineBreak => piece.text.contains('\n'),
            Class::Opening => {
                self.previous.is_none_or(|previous| self.vocabulary.piece(previous).is_some_and(|piece| piece.special))
            }
            Class::Early => place.position < EARLY,
        }
    }

    fn advance(&mut self, place: Place, piece: &Piece) {
        let core = piece.core();
        if piece.special {
            self.forget();
        } else if ends_sentence(core) || piece.text.contains('\n') {
            self.sentence_open = false;
        } else if !piece.letters.is_empty() {
            self.sentence_open = true;
        }
        match core {
            "\"" => self.quoted = !self.quoted,
            "“" => self.quoted = true,
            "”" => self.quoted = false,
            _ if piece.text.contains('\n') => self.quoted = false,
            _ => {}
        }
        self.row = Some(place.row);
        self.previous = Some(place.token);
    }

    /// The letters behind the key of a word that the row at hand has, of the kinds that hash words.
    pub(crate) fn letters(&self, kind: Kind, key: u64) -> Option<&str> {
        match kind {
            Kind::Spelling => Some(&self.word),
            Kind::PreviousWord => Some(&self.previous_word),
            Kind::ContextWord => self.context.iter().find(|(hash, _)| *hash == key).map(|(_, word)| word.as_str()),
            Kind::Token | Kind::Previous | Kind::Next | Kind::Pair => None,
        }
    }
}

fn ends_sentence(core: &str) -> bool {
    !core.is_empty() && core.chars().all(|c| matches!(c, '.' | '!' | '?' | '"' | '”')) && !is_quote(core)
}

fn is_quote(core: &str) -> bool {
    !core.is_empty() && core.chars().all(|c| matches!(c, '"' | '“' | '”'))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads tokens from `texts` in order, `<s>` being special, and returns the facts of each.
    fn read(texts: &[&str]) -> Vec<Facts> {
        let vocabulary = Vocabulary::new(texts.iter().map(|t| (*t).to_owned()).collect(), &[0]);
        let mut reader = Reader::new(&vocabulary);
        let n = texts.len() as u32;
        (0..n)
            .map(|i| {
                let mut facts = Facts::default();
                let next = (i + 1 < n).then_some(i + 1);
                reader.read(Place { row: u64::from(i), token: i, next, position: i }, &mut facts);
                facts
            })
            .collect()
    }

    #[test]
    fn words_are_spelt_out_of_pieces() {
        let facts = read(&["<s>", " n", "ee", "d", "le", " is", " sharp", "."]);
        assert!(facts[2].has(Kind::Spelling, hash::text("nee")));
        assert!(facts[4].has(Kind::Spelling, hash::text("needle")));
        assert!(!facts[1].has(Kind::Spelling, hash::text("n")), "one piece is the token kind's");
        assert!(facts[5].has(Kind::PreviousWord, hash::text("needle")));
        assert!(facts[6].has(Kind::ContextWord, hash::text("needle")));
        assert!(!facts[6].has(Kind::ContextWord, hash::text("is")), "too short");
        assert!(facts[5].has(Kind::Pair, pair_key(4, 5)) && facts[5].has(Kind::Next, 6));
        assert!(facts[4].is(Class::WordInside) && facts[5].is(Class::WordStart) && facts[7].is(Class::SentenceEnd));
    }

    #[test]
    fn sentences_and_quotations_are_followed() {
        let facts = read(&["<s>", " Tom", " said", ",", " \"", "No", "!", "\"", " He", " left"]);
        let of = |class| facts.iter().map(|f| u8::from(f.is(class))).collect::<Vec<_>>();
        assert_eq!(of(Class::Quoted), [0, 0, 0, 0, 0, 1, 1, 0, 0, 0]);
        assert_eq!(of(Class::Quote), [0, 0, 0, 0, 1, 0, 0, 1, 0, 0]);
        assert_eq!(of(Class::SentenceStart), [0, 1, 0, 0, 0, 0, 0, 0, 1, 0]);
        assert_eq!(of(Class::Opening), [1, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(of(Class::Punctuation), [0, 0, 0, 1, 1, 0, 1, 1, 0, 0]);
    }

    #[test]
    fn a_gap_and_a_new_context_forget_the_past() {
        let vocabulary = Vocabulary::new([" old", " man"].map(str::to_owned).to_vec(), &[]);
        let mut reader = Reader::new(&vocabulary);
        let mut facts = Facts::default();
        let mut read = |row, token, position| {
            reader.read(Place { row, token, next: None, position }, &mut facts);
            facts.clone()
        };
        read(0, 0, 0);
        assert!(read(1, 1, 1).has(Kind::Previous, 0));
        assert!(!read(3, 1, 3).has(Kind::Previous, 1), "row 2 was not read");
        assert!(!read(4, 1, 0).has(Kind::PreviousWord, hash::text("man")), "position 0 opens a context");
    }
}
