//! How a token's spelling in a vocabulary is shown to a reader.

use serde_json::Value;
use tokenizers::Tokenizer;

/// How a vocabulary spells spaces and bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenStyle {
    /// GPT-2's byte-level alphabet: every byte is a printable character, a space is `Ġ`.
    ByteLevel,
    /// SentencePiece's: a space is `▁`, a byte is `<0x0A>`.
    Metaspace,
    /// As it is.
    Plain,
}

impl TokenStyle {
    /// The style of a tokenizer, by its decoder.
    pub(crate) fn of(tokenizer: &Tokenizer) -> Self {
        let decoder = serde_json::to_value(tokenizer.get_decoder()).unwrap_or_default();
        let pre_tokenizer = serde_json::to_value(tokenizer.get_pre_tokenizer()).unwrap_or_default();
        let decodes = |name: &str| mentions(&decoder, name);
        if decodes("ByteLevel") || mentions(&pre_tokenizer, "ByteLevel") {
            TokenStyle::ByteLevel
        } else if decodes("Metaspace") || decodes("\u{2581}") || decodes("ByteFallback") {
            TokenStyle::Metaspace
        } else {
            TokenStyle::Plain
        }
    }

    /// What a reader sees for `token`.
    pub(crate) fn show(self, token: &str) -> String {
        match self {
            TokenStyle::Plain => token.to_owned(),
            TokenStyle::Metaspace => match byte_token(token) {
                Some(byte) => show_bytes(&[byte]),
                None => token.replace('\u{2581}', " "),
            },
            // A token with characters outside the alphabet was added as it is.
            TokenStyle::ByteLevel => match token.chars().map(byte_of).collect::<Option<Vec<u8>>>() {
                Some(bytes) => show_bytes(&bytes),
                None => token.to_owned(),
            },
        }
    }
}

/// Whether a string equal to `name` occurs anywhere in `value`.
fn mentions(value: &Value, name: &str) -> bool {
    match value {
        Value::String(text) => text == name,
        Value::Array(items) => items.iter().any(|item| mentions(item, name)),
        Value::Object(map) => map.values().any(|item| mentions(item, name)),
        _ => false,
    }
}

/// The byte of a token like `<0x0A>`.
fn byte_token(token: &str) -> Option<u8> {
    let digits = token.strip_prefix("<0x")?.strip_suffix('>')?;
    (digits.len() == 2).then(|| u8::from_str_radix(digits, 16).ok())?
}

/// Bytes as text, those that are part of no character as `<0xE2>`.
fn show_bytes(bytes: &[u8]) -> String {
    let show = |chunk: std::str::Utf8Chunk<'_>| {
        let stray: String = chunk.invalid().iter().map(|byte| format!("<0x{byte:02X}>")).collect();
        chunk.valid().to_owned() + &stray
    };
    bytes.utf8_chunks().map(show).collect()
}

/// The byte that a character of GPT-2's alphabet stands for: printable Latin-1 characters stand for themselves, the
/// other bytes, in their order, for the characters from U+0100 (openai/gpt-2 encoder.py, bytes_to_unicode).
fn byte_of(character: char) -> Option<u8> {
    let printable = |byte: &u8| matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
    match u32::from(character) {
        code @ 0..=0xFF => u8::try_from(code).ok().filter(printable),
        code => (0..=u8::MAX).filter(|byte| !printable(byte)).nth(usize::try_from(code - 0x100).ok()?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn byte_level_tokens_show_spaces_newlines_and_stray_bytes() {
        let show = |token| TokenStyle::ByteLevel.show(token);
        assert_eq!(show("Ġthe"), " the");
        assert_eq!(show("Ċ"), "\n");
        assert_eq!(show("é"), "<0xE9>"); // the lone byte E9
        assert_eq!(show("Ã©"), "é"); // C3 A9
        assert_eq!(show("âĢ"), "<0xE2><0x80>"); // two thirds of a quotation mark
        assert_eq!(show("日"), "日"); // not of the alphabet: an added token
    }

    #[test]
    fn every_byte_has_one_character() {
        let alphabet: Vec<u8> = (0..0x180).filter_map(char::from_u32).filter_map(byte_of).collect();
        let mut sorted = alphabet.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..=u8::MAX).collect::<Vec<_>>());
    }

    #[test]
    fn metaspace_tokens_show_spaces_and_bytes() {
        let show = |token| TokenStyle::Metaspace.show(token);
        assert_eq!(show("▁the"), " the");
        assert_eq!(show("<0x0A>"), "\n");
        assert_eq!(show("<0xE2>"), "<0xE2>");
        assert_eq!(show("<0xZZ>"), "<0xZZ>");
        assert_eq!(TokenStyle::Plain.show("▁a"), "▁a");
    }
}
