//! What the repository promises about its own text: small files that say what they answer, and documents that are true.

use crate::support::{Untangle, workspace_root};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const MAX_LINES: usize = 400;

/// Things that mean "not finished", hide a test, or name somebody's machine. Split, so that this file passes itself.
const FORBIDDEN: [&str; 9] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("to", "do!("),
    concat!("unimple", "mented!("),
    concat!("#[ig", "nore"),
    concat!("should_", "panic"),
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!("/ho", "me/"),
];

/// Files that git tracks or would track, as paths from the root.
fn files() -> Vec<PathBuf> {
    let mut git = Command::new("git");
    git.args(["ls-files", "--cached", "--others", "--exclude-standard"]).current_dir(workspace_root());
    match git.output() {
        Ok(output) if output.status.success() => {
            let listing = String::from_utf8(output.stdout).expect("file names are UTF-8");
            listing.lines().map(PathBuf::from).filter(|path| workspace_root().join(path).is_file()).collect()
        }
        _ => walk(&workspace_root(), Path::new("")),
    }
}

/// The same for a source archive, which has no git.
fn walk(root: &Path, folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(root.join(folder)).expect("a readable folder");
    let visible = entries.map(|entry| folder.join(entry.expect("an entry").file_name()));
    let ours = visible.filter(|path| !["target", ".deps", ".git"].iter().any(|skipped| path.starts_with(skipped)));
    ours.flat_map(|path| if root.join(&path).is_dir() { walk(root, &path) } else { vec![path] }).collect()
}

/// Text files with an extension of the list, with their content.
fn texts(extensions: &[&str]) -> Vec<(PathBuf, String)> {
    let wanted = |path: &PathBuf| path.extension().is_some_and(|e| extensions.iter().any(|x| e == *x));
    let read = |path: PathBuf| {
        let text =
            fs::read_to_string(workspace_root().join(&path)).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        (path, text)
    };
    files().into_iter().filter(wanted).map(read).collect()
}

/// Fails with all findings at once.
fn none(what: &str, findings: Vec<String>) {
    assert!(findings.is_empty(), "{what}:\n{}", findings.join("\n"));
}

#[test]
fn every_rust_file_says_first_which_question_it_answers() {
    let silent = texts(&["rs"]).into_iter().filter(|(_, text)| !text.starts_with("//! "));
    none("files whose first line is not `//! …`", silent.map(|(path, _)| path.display().to_string()).collect());
}

#[test]
fn files_are_small() {
    let lines = texts(&["rs", "py"]).into_iter().map(|(path, text)| (text.lines().count(), path));
    let long = lines.filter(|(n, _)| *n > MAX_LINES).map(|(n, path)| format!("{} has {n} lines", path.display()));
    none("files that answer more than one question", long.collect());
}

#[test]
fn lines_end_in_text() {
    let ends_blank = |text: &str| text.lines().position(|line| line.trim_end() != line);
    let found = texts(&["rs", "py", "toml", "md"])
        .into_iter()
        .filter_map(|(path, text)| ends_blank(&text).map(|number| format!("{}:{}", path.display(), number + 1)));
    none("lines that end in a blank", found.collect());
}

#[test]
fn nothing_is_left_for_later_and_no_machine_is_named() {
    let mut findings = Vec::new();
    for (path, text) in texts(&["rs", "py", "md", "toml", "txt"]) {
        for word in FORBIDDEN.into_iter().filter(|word| text.contains(word)) {
            findings.push(format!("{} contains `{word}`", path.display()));
        }
    }
    none("forbidden words", findings);
}

/// The verbs that `untangle --help` lists.
fn verbs() -> BTreeSet<String> {
    let help = Untangle::new("--help").succeed();
    let commands = help.split("Commands:").nth(1).expect("a list of commands").split("\n\n").next().unwrap_or_default();
    // Verbs stand two blanks in; deeper lines go on with a description.
    let entries = commands.lines().filter_map(|line| line.strip_prefix("  ").filter(|entry| !entry.starts_with(' ')));
    let verbs = entries.filter_map(|entry| entry.split_whitespace().next()).map(str::to_owned);
    verbs.filter(|verb| verb != "help").collect()
}

/// Command lines of the README: what follows `untangle` in a code line or code span, up to the end of the command.
fn command_lines(text: &str) -> Vec<Vec<String>> {
    let joined = text.replace("\\\n", " ");
    let commands = joined.split(['\n', '`']).map(str::trim).map(|line| line.strip_prefix("$ ").unwrap_or(line));
    let called = |line: &str| {
        let rest = line.strip_prefix("target/release/untangle ").or_else(|| line.strip_prefix("untangle "))?;
        Some(rest.split_whitespace().map(str::to_owned).collect())
    };
    commands.filter_map(called).collect()
}

/// The help of a verb, or of its own verb where the line names one; a README's `corpus|concepts` means every one of them.
fn help_of(verb: &str, line: &[String]) -> String {
    let help = Untangle::new(verb).arg("--help").succeed();
    let below = line.iter().skip_while(|word| *word != verb).nth(1).filter(|_| help.contains("\nCommands:\n"));
    let below = below.into_iter().flat_map(|names| names.split('|'));
    let helps: Vec<_> = below.map(|name| Untangle::new(verb).arg(name).arg("--help").succeed()).collect();
    if helps.is_empty() { help } else { helps.concat() }
}

#[test]
fn the_readme_shows_only_commands_and_options_that_exist_and_all_verbs() {
    let readme = fs::read_to_string(workspace_root().join("README.md")).expect("a README");
    let verbs = verbs();
    let mut shown = BTreeSet::new();
    for line in command_lines(&readme) {
        let Some(verb) = line.iter().find(|word| !word.starts_with('-')) else { continue };
        assert!(verbs.contains(verb), "the README calls `untangle {verb}`, which does not exist");
        shown.insert(verb.clone());
        let help = help_of(verb, &line);
        for option in line.iter().filter_map(|word| word.trim_start_matches('[').strip_prefix("--")) {
            let name = option.split(['=', ']']).next().unwrap_or_default();
            assert!(help.contains(&format!("--{name}")), "`untangle {}` has no --{name}", line.join(" "));
        }
    }
    assert_eq!(shown, verbs, "the README's commands and the program's verbs differ");
}

#[test]
fn every_reader_of_databases_of_features_knows_the_version_that_is_written() {
    let read = |path: &str| fs::read_to_string(workspace_root().join(path)).expect(path);
    let behind = |path: &str, words: &str| -> u32 {
        let text = read(path);
        let (_, rest) = text.split_once(words).unwrap_or_else(|| panic!("{path} has no `{words}`"));
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().unwrap_or_else(|_| panic!("{path}: no number behind `{words}`"))
    };
    let written = behind("crates/interpret/src/database/format.rs", "const VERSION: i32 = ");
    assert_eq!(behind("python/untangle/databases.py", "APPLICATION, VERSION = 0x556E7467, "), written);
    assert_eq!(behind("activations/FEATURES.md", "`user_version` "), written);
}
