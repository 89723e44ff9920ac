//! How does Python read a path of the environment?
//!
//! As `os.path.expandvars(os.path.expanduser(value))`: `~` and `~user` at the beginning are home directories, `$NAME`
//! and `${NAME}` variables anywhere. What names nobody and nothing stays as it is.

use std::ffi::OsString;
use std::path::PathBuf;

/// Users and their homes.
const USERS: &str = "/etc/passwd";
/// Columns of that file.
const NAME: usize = 0;
const UID: usize = 2;
const HOME: usize = 5;

/// The path that a value means; `variable` looks up a variable.
pub(super) fn path(value: OsString, variable: &dyn Fn(&str) -> Option<OsString>) -> PathBuf {
    // What is not UTF-8 is no text to look for names in.
    let Some(text) = value.to_str() else { return value.into() };
    let homed = home(text, variable).unwrap_or_else(|| text.to_owned());
    PathBuf::from(variables(&homed, variable))
}

fn home(text: &str, variable: &dyn Fn(&str) -> Option<OsString>) -> Option<String> {
    let rest = text.strip_prefix('~')?;
    let (user, rest) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let users = || std::fs::read_to_string(USERS).ok();
    let home = match variable("HOME").filter(|_| user.is_empty()) {
        Some(home) => home.into_string().ok()?,
        None if user.is_empty() => home_of(UID, &own_id()?, &users()?)?,
        None => home_of(NAME, user, &users()?)?,
    };
    let path = format!("{}{rest}", home.trim_end_matches('/'));
    Some(if path.is_empty() { "/".to_owned() } else { path })
}

/// The number of the user who runs this, from what the system says of this very process.
#[cfg(unix)]
fn own_id() -> Option<String> {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").ok().map(|about| about.uid().to_string())
}

#[cfg(not(unix))]
fn own_id() -> Option<String> {
    None
}

/// The home of the user whose entry in a file of users has this value in this column.
fn home_of(column: usize, value: &str, users: &str) -> Option<String> {
    let mut fields = users.lines().map(|line| line.split(':').collect::<Vec<_>>());
    fields.find(|fields| fields.get(column) == Some(&value))?.get(HOME).map(|home| (*home).to_owned())
}

fn variables(text: &str, variable: &dyn Fn(&str) -> Option<OsString>) -> String {
    let (mut expanded, mut rest) = (String::new(), text);
    while let Some(at) = rest.find('$') {
        expanded.push_str(&rest[..at]);
        let behind = &rest[at + 1..];
        let (name, length) = match behind.strip_prefix('{').and_then(|inner| inner.split_once('}')) {
            Some((name, _)) => (name, name.len() + 2),
            None => {
                let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
                let length = behind.find(|c| !is_name(c)).unwrap_or(behind.len());
                (&behind[..length], length)
            }
        };
        let value = Some(name).filter(|name| !name.is_empty()).and_then(variable).and_then(|v| v.into_string().ok());
        match value {
            Some(value) => expanded.push_str(&value),
            None => expanded.push_str(&rest[at..=at + length]),
        }
        rest = &behind[length..];
    }
    expanded + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_mean_what_they_mean_to_python() {
        let variable = |name: &str| match name {
            "HOME" => Some(OsString::from("/h/")),
            "D_1" => Some(OsString::from("$HOME")),
            _ => None,
        };
        for (value, expected) in [
            ("~/hf", "/h/hf"),
            ("~", "/h"),
            ("$HOME/hf", "/h//hf"),
            ("${HOME}hf", "/h/hf"),
            ("/a/$D_1/b", "/a/$HOME/b"),
            ("/a/~/b", "/a/~/b"),
            ("/$ABSENT/${ABSENT}/$", "/$ABSENT/${ABSENT}/$"),
            ("${HOME", "${HOME"),
            ("~no-such-user/x", "~no-such-user/x"),
        ] {
            assert_eq!(path(value.into(), &variable).to_str(), Some(expected), "{value}");
        }
        let users = "root:x:0:0:root:/root:/bin/sh\nann:x:7:7::/users/ann:/bin/sh\n";
        assert_eq!(home_of(NAME, "ann", users).as_deref(), Some("/users/ann"));
        assert_eq!(home_of(UID, "7", users).as_deref(), Some("/users/ann"));
        assert_eq!((home_of(NAME, "an", users), home_of(UID, "", users)), (None, None));
    }

    #[test]
    fn a_home_is_found_without_the_variable_and_never_empty() {
        let root = |name: &str| (name == "HOME").then(|| OsString::from("/"));
        assert_eq!(path("~".into(), &root).to_str(), Some("/"));
        assert_eq!(path("~/hf".into(), &root).to_str(), Some("/hf"));
        let users = std::fs::read_to_string(USERS).unwrap_or_default();
        let Some(home) = own_id().and_then(|id| home_of(UID, &id, &users)) else { return };
        let expected = PathBuf::from(home).join("hf");
        assert_eq!(path("~/hf".into(), &|_| None), expected);
    }
}
