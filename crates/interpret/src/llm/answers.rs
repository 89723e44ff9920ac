//! What is taken of an answer: a label, or texts? [`super::verdicts`] takes verdicts.
//!
//! An answer that is none of what was asked for is told apart from one that says nothing, and both are counted.

use super::prompts::MIXED;
use untangle_endpoint::Reply;

/// Letters of a label at most; what is longer is no phrase.
const LONGEST: usize = 160;
/// Letters of a text at most.
const LONGEST_TEXT: usize = 400;

/// What an answer to the question for a label says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Named {
    /// A label.
    Label(String),
    /// That there is nothing in common.
    Mixed,
    /// Nothing that could be understood.
    Nothing,
}

/// The label that an answer gives: behind `LABEL:`, in a JSON object, or as the last line where that is a short phrase.
pub fn label(text: &str) -> Named {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let behind = |at: usize| {
        let bare = lines[at].trim_start_matches(['*', '#', '-', '>', '`', ' ']);
        let rest = bare.get(..6).filter(|word| word.eq_ignore_ascii_case("label:")).map(|_| &bare[6..])?;
        let rest = plain(rest);
        // Some put the phrase on a line of its own.
        Some(if rest.is_empty() { lines.get(at + 1).map(|next| plain(next)).unwrap_or_default() } else { rest })
    };
    let json = serde_json::from_str::<serde_json::Value>(text.trim().trim_matches('`').trim_start_matches("json"));
    let of_json = || Some(plain(json.ok()?.get("label")?.as_str()?));
    let is_phrase = |line: &String| line.chars().count() <= LONGEST && !speaks(line);
    let last = || lines.last().map(|line| plain(line)).filter(is_phrase);
    let found = (0..lines.len()).rev().find_map(behind).or_else(of_json).or_else(last).unwrap_or_default();
    match &found[..] {
        "" => Named::Nothing,
        mixed if mixed.eq_ignore_ascii_case(MIXED) => Named::Mixed,
        _ => Named::Label(cut(&found, LONGEST)),
    }
}

/// Whether a line is what a model says of itself, such as that it is sorry and cannot help, and no phrase.
fn speaks(line: &str) -> bool {
    let line = line.to_lowercase().replace('\u{2019}', "'");
    let words: Vec<&str> =
        line.split(|c: char| !c.is_alphanumeric() && c != '\'').filter(|word| !word.is_empty()).collect();
    match words[..] {
        ["i" | "we", next, ..] => matches!(
            next,
            "am" | "are"
                | "can"
                | "cannot"
                | "can't"
                | "could"
                | "do"
                | "don't"
                | "have"
                | "must"
                | "will"
                | "won't"
                | "would"
        ),
        ["as", "an", "ai", ..] | ["sorry" | "unable" | "i'm" | "i've" | "i'll" | "i'd" | "we're", ..] => true,
        _ => false,
    }
}

/// Whether an answer to the question for a label is none.
pub(super) fn names_nothing(reply: &Reply) -> bool {
    label(&reply.text) == Named::Nothing
}

/// A phrase without what surrounds phrases, on one line, without what acts on a terminal or turns the direction round.
fn plain(text: &str) -> String {
    let acts = |c: char| {
        c.is_control()
            || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{206f}')
    };
    let text: String = text.chars().map(|c| if acts(c) { ' ' } else { c }).collect();
    let mut text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    loop {
        let bare = text.trim_matches(['*', '`', ' ']).trim_end_matches('.');
        let unquoted = [('"', '"'), ('“', '”'), ('\'', '\''), ('«', '»')].iter().find_map(|(open, close)| {
            let inner = bare.strip_prefix(*open)?.strip_suffix(*close)?;
            // `"a" or "b"` is not one quotation.
            (!inner.contains(*open) && !inner.contains(*close)).then_some(inner)
        });
        let next = unquoted.unwrap_or(bare).to_owned();
        if next == text {
            return text;
        }
        text = next;
    }
}

fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", text[..end].trim_end()),
    }
}

/// The texts of an answer with whether they fit: lines that begin with `+` or `-`, each text once.
pub fn texts(text: &str) -> Vec<(bool, String)> {
    let mut seen = std::collections::HashSet::new();
    let read = |line: &str| {
        // Lists are numbered or set in bold all the same.
        let bare = line.trim().trim_start_matches(|c: char| c.is_ascii_digit() || ".)*` ".contains(c));
        let (fits, rest) = match bare.chars().next()? {
            '+' => (true, bare.trim_start_matches('+')),
            '-' | '–' | '−' => (false, bare.trim_start_matches(['-', '–', '−'])),
            _ => return None,
        };
        let text = plain_text(rest);
        (!text.is_empty()).then_some((fits, text))
    };
    text.lines().filter_map(read).filter(|(_, text)| seen.insert(text.clone())).collect()
}

/// A text that a model will read: what stands around it goes, what ends it stays.
fn plain_text(text: &str) -> String {
    let text = text.replace('⏎', "\n");
    let text: String = text.chars().filter(|c| *c == '\n' || !c.is_control()).collect();
    let text = text.trim().trim_matches('*').trim();
    let text =
        text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).filter(|t| !t.contains('"')).unwrap_or(text);
    text.chars().take(LONGEST_TEXT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_found_in_what_models_write() {
        let given = |text: &str| match label(text) {
            Named::Label(label) => label,
            other => format!("{other:?}"),
        };
        for (text, expected) in [
            ("They are bridges.\nLABEL: names of bridges.", "names of bridges"),
            ("**Label:** \"names of bridges\"", "names of bridges"),
            ("LABEL:\n\nnames of bridges", "names of bridges"),
            ("{\"label\": \"names of bridges\"}", "names of bridges"),
            ("Here it is:\n\nnames of bridges", "names of bridges"),
            ("LABEL: \"a\" or \"b\"", "\"a\" or \"b\""),
            ("LABEL: <b>bold</b> & \u{1b}[31mred\u{7}\u{202e}x", "<b>bold</b> & [31mred x"),
            ("LABEL: first\nLABEL: second", "second"),
            ("label: Mixed.", "Mixed"),
            ("I'm sorry, but I can't help with that.", "Nothing"),
            ("As an AI, I have no opinion.", "Nothing"),
            ("I cannot say.", "Nothing"),
            ("World War I", "World War I"),
            ("\"I\" and \"we\" in replies", "\"I\" and \"we\" in replies"),
            ("modal verbs such as cannot", "modal verbs such as cannot"),
            ("LABEL: \"I am\" and \"I was\"", "\"I am\" and \"I was\""),
            ("", "Nothing"),
            ("LABEL:", "Nothing"),
        ] {
            assert_eq!(given(text), expected, "{text}");
        }
        assert_eq!(given(&format!("I think {}", "so ".repeat(99))), "Nothing");
        assert_eq!(given(&format!("LABEL: {}", "é".repeat(500))).chars().count(), LONGEST + 1);
    }

    #[test]
    fn texts_are_lines_with_a_sign() {
        let answer = "Sure!\n+ A red dog.\n2. - \"A red cat.\"\n+ A red dog.\n* + **Two⏎lines**\n+\n- - x";
        let expected = [(true, "A red dog."), (false, "A red cat."), (true, "Two\nlines"), (false, "- x")];
        let found = texts(answer);
        let found: Vec<(bool, &str)> = found.iter().map(|(fits, text)| (*fits, text.as_str())).collect();
        assert_eq!(found, expected);
    }
}
