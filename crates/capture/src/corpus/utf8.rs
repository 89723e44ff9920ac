//! How do bytes become text where they are not UTF-8?
//!
//! Half of a character, which is how JSON's `\\ud800` reads, counts as one sequence of three bytes, as Python counts it as one
//! character.

/// Text, with what was not UTF-8 in its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Decoded {
    /// The text; U+FFFD stands for what is none.
    pub(super) text: String,
    /// Byte sequences that were replaced.
    pub(super) replaced: u64,
}

/// Text from bytes.
pub(super) fn decode(bytes: Vec<u8>) -> Decoded {
    match String::from_utf8(bytes) {
        Ok(text) => Decoded { text, replaced: 0 },
        Err(error) => {
            let mut text = String::with_capacity(error.as_bytes().len());
            let mut replaced = 0;
            each(error.as_bytes(), |valid, is_fault| {
                text.push_str(valid);
                if is_fault {
                    text.push(char::REPLACEMENT_CHARACTER);
                    replaced += 1;
                }
            });
            Decoded { text, replaced }
        }
    }
}

/// Number of byte sequences that are not UTF-8.
pub(super) fn faults(bytes: &[u8]) -> u64 {
    let mut faults = 0;
    each(bytes, |_, is_fault| faults += u64::from(is_fault));
    faults
}

/// Shows every stretch of text, and whether a sequence that is none follows it.
fn each(bytes: &[u8], mut show: impl FnMut(&str, bool)) {
    // Bytes of half a character that are still to come.
    let mut of_half = 0usize;
    let mut at = 0;
    for chunk in bytes.utf8_chunks() {
        let begin = at + chunk.valid().len();
        let is_fault = !chunk.invalid().is_empty() && of_half == 0;
        show(chunk.valid(), is_fault);
        of_half = match bytes.get(begin..begin + 3) {
            Some([0xED, 0xA0..=0xBF, 0x80..=0xBF]) if is_fault => 2,
            _ => of_half.saturating_sub(1),
        };
        at = begin + chunk.invalid().len();
    }
}

/// Where the first byte is that is not UTF-8.
pub(super) fn first_fault(bytes: &[u8]) -> Option<usize> {
    std::str::from_utf8(bytes).err().map(|error| error.valid_up_to())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_of_characters_are_one_sequence_each() {
        for (bytes, text, replaced) in [
            (&b"a\xed\xa0\x80b"[..], "a\u{fffd}b", 1),
            (b"\xed\xa0\x80\xed\xb0\x80", "\u{fffd}\u{fffd}", 2),
            (b"\xed\xa0", "\u{fffd}\u{fffd}", 2),
            (b"\xed\xa0\x80\xff\xfe", "\u{fffd}\u{fffd}\u{fffd}", 3),
            (b"\xff\xed\xbf\xbfx\xe2\x82", "\u{fffd}\u{fffd}x\u{fffd}", 3),
            (b"a\xc3", "a\u{fffd}", 1),
        ] {
            assert_eq!(decode(bytes.to_vec()), Decoded { text: text.to_owned(), replaced }, "{bytes:?}");
            assert_eq!(faults(bytes), replaced);
        }
    }
}
