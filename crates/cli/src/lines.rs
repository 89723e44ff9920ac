//! Text in lines, and words as a shell takes them.

/// Lines of at most `width` characters, broken between words.
pub(crate) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::<String>::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// A word as a shell takes it.
pub(crate) fn shell(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-:=,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// The command line that is running, as a shell takes it.
pub(crate) fn command_line() -> String {
    std::env::args_os().map(|word| shell(&word.to_string_lossy())).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_broken_between_words() {
        let text = "word ".repeat(50);
        let lines = wrapped(text.trim(), 40);
        assert!(lines.iter().all(|line| line.len() <= 40 && line.starts_with("word") && line.ends_with("word")));
        assert_eq!(lines.join(" "), text.trim());
        assert_eq!(wrapped(&"x".repeat(300), 40).len(), 1, "one word stays whole");
    }

    #[test]
    fn printed_commands_can_be_pasted() {
        assert_eq!(shell("demo-output/sae"), "demo-output/sae");
        assert_eq!(shell("Golden Gate"), "'Golden Gate'");
        assert_eq!(shell("it's $x"), "'it'\\''s $x'");
        assert_eq!(shell(""), "''");
    }
}
