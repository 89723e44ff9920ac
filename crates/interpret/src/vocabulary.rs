//! What the tokens of a model look like: their text, and how they make up words.

use crate::error::InterpretError;
use untangle_model::LanguageModel;

/// The tokens of a model as text.
#[derive(Clone, Debug, Default)]
pub struct Vocabulary {
    pieces: Vec<Piece>,
    /// Whether tokens say by a leading space that they begin a word; in a vocabulary of characters none does.
    spaced: bool,
}

/// One token.
#[derive(Clone, Debug, Default)]
pub(crate) struct Piece {
    /// The text that it stands for, with its leading space.
    pub(crate) text: String,
    /// Whether it begins a new word: its text begins with white space.
    pub(crate) starts_word: bool,
    /// Its letters in lower case, where it consists of letters (and inner apostrophes and hyphens); else empty.
    pub(crate) letters: String,
    /// Whether it is special to the tokenizer.
    pub(crate) special: bool,
}

impl Vocabulary {
    /// `texts[id]` is the text of token `id`; `special` are the ids of special tokens.
    pub fn new(texts: Vec<String>, special: &[u32]) -> Self {
        let pieces: Vec<Piece> = texts.into_iter().map(Piece::new).collect();
        let spaced = pieces.iter().any(|piece| piece.starts_word && !piece.letters.is_empty());
        let mut vocabulary = Self { pieces, spaced };
        for &id in special {
            if let Some(piece) = vocabulary.pieces.get_mut(id as usize) {
                *piece = Piece { text: std::mem::take(&mut piece.text), special: true, ..Piece::default() };
            }
        }
        vocabulary
    }

    /// The tokens of a model that has a tokenizer.
    ///
    /// # Errors
    /// When the model has no tokenizer.
    pub fn of(model: &LanguageModel) -> Result<Self, InterpretError> {
        let tokenizer = model.tokenizer()?;
        let ids = 0..tokenizer.vocab_size().min(model.vocab_size()) as u32;
        let special: Vec<u32> = ids.clone().filter(|id| tokenizer.is_special(*id)).collect();
        Ok(Self::new(ids.map(|id| tokenizer.token_text(id)).collect(), &special))
    }

    /// Number of tokens.
    pub fn len(&self) -> usize {
        self.pieces.len()
    }

    /// Whether no token is known.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// The text of token `id`; `[id]` where it is not known.
    pub fn text(&self, id: u32) -> String {
        self.pieces.get(id as usize).map_or_else(|| format!("[{id}]"), |piece| piece.text.clone())
    }

    pub(crate) fn piece(&self, id: u32) -> Option<&Piece> {
        self.pieces.get(id as usize)
    }

    /// How a label quotes token `id`: `"little"` begins a word, `"…ily"` continues one.
    pub(crate) fn quoted(&self, id: u32) -> String {
        let Some(piece) = self.piece(id) else { return format!("token {id}") };
        let core = piece.text.trim();
        match core {
            "" if piece.text.contains('\n') => "line break".to_owned(),
            "" => "space".to_owned(),
            _ if piece.special => format!("special token {core}"),
            _ if core.contains('"') => format!("'{core}'"),
            _ if self.spaced && !piece.letters.is_empty() && !piece.starts_word => format!("\"…{core}\""),
            _ => format!("\"{core}\""),
        }
    }
}

impl Piece {
    fn new(text: String) -> Self {
        let core = text.trim();
        let inner = |c: char| c.is_alphabetic() || c == '\'' || c == '’' || c == '-';
        let word = core.chars().next().is_some_and(char::is_alphabetic) && core.chars().all(inner);
        let letters = if word { core.to_lowercase() } else { String::new() };
        Self { starts_word: text.starts_with(char::is_whitespace), letters, special: false, text }
    }

    /// The text without the white space around it.
    pub(crate) fn core(&self) -> &str {
        self.text.trim()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_quoted_as_a_reader_expects() {
        let texts = ["<s>", " little", "ily", ".", "\n", " ", "a", " don't", ".\""].map(str::to_owned).to_vec();
        let vocabulary = Vocabulary::new(texts, &[0]);
        let quoted: Vec<String> = (0..10).map(|id| vocabulary.quoted(id)).collect();
        let expected = [
            "special token <s>",
            "\"little\"",
            "\"…ily\"",
            "\".\"",
            "line break",
            "space",
            "\"…a\"",
            "\"don't\"",
            "'.\"'",
            "token 9",
        ];
        assert_eq!(quoted, expected);
        assert_eq!((vocabulary.text(1), vocabulary.text(99)), (" little".to_owned(), "[99]".to_owned()));
    }

    #[test]
    fn characters_are_not_marked_as_parts_of_words() {
        let vocabulary = Vocabulary::new(["a", " ", "b"].map(str::to_owned).to_vec(), &[]);
        assert_eq!([vocabulary.quoted(0), vocabulary.quoted(2)], ["\"a\"", "\"b\""]);
    }

    #[test]
    fn words_are_told_from_punctuation() {
        let letters = |text: &str| Piece::new(text.to_owned()).letters;
        assert_eq!([letters(" Don't"), letters("3"), letters(" \""), letters("-")], ["don't", "", "", ""]);
    }
}
