//! Where does a document end that is too long?
//!
//! Tokenizers need a hundred times the bytes of what they are given at once, so that no document may be of any length.

/// Longest document; what is longer is divided.
pub(super) const LONGEST_DOCUMENT: usize = 256 << 10;
/// How far before the end of a part that has no line break a space is looked for.
const SPACE_WITHIN: usize = 1 << 10;

/// Where a text that is too long is cut: after its last line, else after its last space, else between characters.
pub(super) fn cut(bytes: &[u8]) -> usize {
    if bytes.ends_with(b"\n") {
        return bytes.len();
    }
    let tail = bytes.len().saturating_sub(SPACE_WITHIN);
    if let Some(space) = bytes[tail..].iter().rposition(u8::is_ascii_whitespace) {
        return tail + space + 1;
    }
    // At most three bytes of a character can be here without its end.
    let begins = |at: usize| bytes[at] & 0b1100_0000 != 0b1000_0000;
    let last = (bytes.len().saturating_sub(4)..bytes.len()).rev().find(|at| begins(*at));
    match last {
        Some(at) if std::str::from_utf8(&bytes[at..]).is_err_and(|error| error.error_len().is_none()) => at,
        _ => bytes.len(),
    }
}

/// Length of the next part of a text that may be too long.
pub(super) fn next_part(text: &str) -> usize {
    if text.len() <= LONGEST_DOCUMENT { text.len() } else { cut(&text.as_bytes()[..LONGEST_DOCUMENT]) }
}
