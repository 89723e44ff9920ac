//! Numbers of features, as people list them: `12,40-44`.

use crate::exit::Complaint;

/// Numbers and ranges, both ends included.
///
/// # Errors
/// When `list`, what `option` was given, is no such list, or goes beyond the `n` features that there are.
pub(crate) fn listed(option: &str, list: &str, n: usize) -> anyhow::Result<Vec<usize>> {
    let refuse = |part: &str, problem: &str| {
        Complaint::usage(format!("{option} {list}: `{part}` {problem}; give numbers and ranges, such as 12,40-44"))
    };
    let mut found: Vec<usize> = Vec::new();
    for part in list.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let number = |text: &str| text.trim().parse::<usize>().map_err(|_| refuse(part, "is no number of a feature"));
        let (first, last) = match part.split_once('-') {
            Some((first, last)) => (number(first)?, number(last)?),
            None => (number(part)?, number(part)?),
        };
        if last >= n {
            return Err(refuse(part, &format!("goes beyond the {n} features that there are, from 0")));
        }
        if first > last {
            return Err(refuse(part, "ends before it begins"));
        }
        found.extend((first..=last).filter(|feature| !found.contains(feature)).collect::<Vec<_>>());
    }
    Ok(found)
}

/// Whether a text is meant as such a list and not as a label.
pub(crate) fn is_list(text: &str) -> bool {
    text.contains(|c: char| c.is_ascii_digit())
        && text.chars().all(|c| c.is_ascii_digit() || c == ',' || c == '-' || c == ' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_numbers_and_ranges_each_once() {
        assert_eq!(listed("--features", "3, 1-4,9", 10).expect("a list"), [3, 1, 2, 4, 9]);
        for (wrong, told) in [
            ("10", "goes beyond"),
            ("a", "no number"),
            ("4-2", "ends before"),
            ("1-", "no number"),
            ("-1", "no number"),
        ] {
            assert!(listed("--features", wrong, 10).expect_err(wrong).to_string().contains(told), "{wrong}");
        }
    }
}
