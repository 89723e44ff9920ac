//! What does a judge say: yes or no of every text, or how strongly of every token?
//!
//! An answer that is none of what was asked for is told apart from one that says nothing, and both are counted.

use untangle_endpoint::{Odds, Reply};

/// What a judge says of one text.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Verdict {
    /// Its answer; none where it could not be understood.
    pub says: Option<bool>,
    /// The probability of a yes, where probabilities are told.
    pub odds: Option<f64>,
}

/// The verdicts on `n` texts; all without an answer where there is not one for each.
pub fn verdicts(reply: &Reply, n: usize) -> Vec<Verdict> {
    let (says, odds) = match (digits(&reply.text, n), numbered(&reply.text, n)) {
        (Some(says), _) => {
            let odds = probabilities(&reply.odds, &says);
            (says, odds)
        }
        // Among the digits of numbers, those of answers are not told apart.
        (None, Some(says)) => (says, None),
        (None, None) => return vec![Verdict::default(); n],
    };
    let at = |at: usize| Verdict { says: Some(says[at]), odds: odds.as_ref().map(|odds| odds[at]) };
    (0..n).map(at).collect()
}

/// `n` digits of 0 and 1: in all of the text, in its last brackets, or in its last line.
fn digits(text: &str, n: usize) -> Option<Vec<bool>> {
    let of = |part: &str| -> Option<Vec<bool>> {
        let words: Vec<&str> = part.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
        let only = |word: &&str| word.chars().all(|c| c == '0' || c == '1');
        if !words.iter().all(only) {
            return None;
        }
        let all: Vec<bool> = words.concat().chars().map(|c| c == '1').collect();
        (all.len() == n).then_some(all)
    };
    let bracketed = || text.rfind('[').and_then(|from| of(&text[from..from + text[from..].find(']')?]));
    let last = || text.lines().rev().map(str::trim).find(|line| !line.is_empty()).and_then(of);
    of(text).or_else(bracketed).or_else(last)
}

/// `n` answers that count from 1, such as `3. 0`, `3: yes` or `**3)** 1`, on lines of their own or all of them in one; the last of
/// them where there are several.
fn numbered(text: &str, n: usize) -> Option<Vec<bool>> {
    let lines: Vec<Vec<&str>> = text.lines().map(words).collect();
    let in_one = lines.iter().rev().find(|line| line.len() == 2 * n);
    let alone = || counted(lines.iter().filter(|line| line.len() == 2).map(Vec::as_slice), n);
    in_one.and_then(|line| counted(line.chunks_exact(2), n)).or_else(alone)
}

fn words(line: &str) -> Vec<&str> {
    line.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect()
}

/// The answers of pairs of a number and an answer; others are passed over.
fn counted<'a>(pairs: impl Iterator<Item = &'a [&'a str]>, n: usize) -> Option<Vec<bool>> {
    let mut found = Vec::new();
    for pair in pairs {
        let Ok(number) = pair[0].parse::<usize>() else { continue };
        let says = match pair[1].to_ascii_lowercase().as_str() {
            "1" | "yes" => true,
            "0" | "no" => false,
            _ => continue,
        };
        if number == 1 {
            found.clear();
        }
        if number != found.len() + 1 {
            return None;
        }
        found.push(says);
    }
    (found.len() == n).then_some(found)
}

/// The probability of 1 in the place of every digit; none where digits are not tokens of their own.
fn probabilities(odds: &[Odds], says: &[bool]) -> Option<Vec<f64>> {
    let digit = |token: &str| match token.trim() {
        "0" => Some(false),
        "1" => Some(true),
        _ => None,
    };
    let of = |odds: &Odds| {
        let own = digit(&odds.token)?;
        let mass = |wanted: bool| {
            let those = odds.likely.iter().filter(|(token, _)| digit(token) == Some(wanted));
            those.map(|(_, log_p)| log_p.exp()).sum::<f64>()
        };
        let (yes, no) = (mass(true), mass(false));
        (yes + no > 0.0).then(|| (own, yes / (yes + no)))
    };
    let found: Vec<(bool, f64)> = odds.iter().filter_map(of).collect();
    // Reasoning may hold digits, too; the answer is what comes last, and has to be the one that was read.
    let answer = &found[found.len().checked_sub(says.len())?..];
    let same = answer.iter().zip(says).all(|((own, _), says)| own == says);
    same.then(|| answer.iter().map(|(_, yes)| *yes).collect())
}

/// What a judge says of how strongly a feature fires on every token of a text.
#[derive(Clone, Debug, PartialEq)]
pub struct Degrees {
    /// From 0 to 9.
    pub said: Vec<u8>,
    /// The expected value of each, where probabilities are told.
    pub expected: Option<Vec<f64>>,
}

/// The degrees of `n` tokens; none where there is not one for each.
pub fn degrees(reply: &Reply, n: usize) -> Option<Degrees> {
    let said: Vec<u8> = degree_lines(&reply.text, n)?.into_iter().map(|(_, degree)| degree).collect();
    let expected = expected(&reply.odds, &said);
    Some(Degrees { said, expected })
}

/// Lines such as `12: 3` that count from 1 to `n`, the last of them where there are several: where the digit stands, and what it is.
fn degree_lines(text: &str, n: usize) -> Option<Vec<(usize, u8)>> {
    let (mut found, mut begin) = (Vec::new(), 0);
    for line in text.split_inclusive('\n') {
        if let Some((number, at, degree)) = degree_line(line) {
            if number == 1 {
                found.clear();
            }
            if number != found.len() + 1 {
                return None;
            }
            found.push((begin + at, degree));
        }
        begin += line.len();
    }
    (found.len() == n).then_some(found)
}

/// The number of a token, where its degree stands in the line, and the degree.
fn degree_line(line: &str) -> Option<(usize, usize, u8)> {
    let (number, rest) = line.split_once(':')?;
    let degree: u8 = rest.trim().parse().ok().filter(|degree| *degree <= 9)?;
    let at = line.len() - rest.len() + rest.find(|c: char| c.is_ascii_digit())?;
    Some((number.trim().parse().ok()?, at, degree))
}

/// The expected value in the place of every degree; none where digits are not told with their probabilities.
fn expected(odds: &[Odds], said: &[u8]) -> Option<Vec<f64>> {
    let whole: String = odds.iter().map(|odds| odds.token.as_str()).collect();
    let places = degree_lines(&whole, said.len())?;
    let ends: Vec<usize> = odds
        .iter()
        .scan(0, |end, odds| {
            *end += odds.token.len();
            Some(*end)
        })
        .collect();
    let degree = |token: &str| {
        let bare = token.trim_matches(|c: char| !c.is_alphanumeric());
        bare.parse().ok().filter(|degree: &u8| bare.len() == 1 && *degree <= 9).map(f64::from)
    };
    let value = |(place, own): (&(usize, u8), &u8)| {
        let odds = &odds[ends.partition_point(|end| *end <= place.0)];
        if degree(&odds.token) != Some(f64::from(*own)) {
            return None;
        }
        let likely = odds.likely.iter().filter_map(|(token, log_p)| Some((degree(token)?, log_p.exp())));
        let (sum, mass) = likely.fold((0.0, 0.0), |(sum, mass), (degree, p)| (sum + degree * p, mass + p));
        (mass > 0.0).then(|| sum / mass)
    };
    places.iter().zip(said).map(value).collect()
}

/// Whether no verdict and no degree can be in an answer.
pub(super) fn judges_nothing(reply: &Reply) -> bool {
    !reply.text.contains(|c: char| c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(text: &str, odds: &[(&str, f64)]) -> Reply {
        let odds = odds.iter().map(|(token, yes)| Odds {
            token: (*token).to_owned(),
            likely: vec![("1".to_owned(), yes.ln()), (" 0".to_owned(), (0.5 - yes).ln()), ("x".to_owned(), -1.0)],
        });
        Reply { text: text.to_owned(), odds: odds.collect(), ..Reply::default() }
    }

    #[test]
    fn verdicts_are_digits_and_all_of_them() {
        let says = |text: &str| verdicts(&reply(text, &[]), 3).iter().map(|verdict| verdict.says).collect::<Vec<_>>();
        let yes = [Some(true), Some(false), Some(true)];
        for text in [
            "1 0 1",
            "1,0,1",
            "[1, 0, 1]",
            "101",
            "The answer is [1, 0, 1].",
            "Let me see.\n1 0 1\n",
            "1. 1\n2. 0\n3. 1",
            "Here:\n**1)** yes\n**2)** No\n**3)** yes\n",
            "1. yes 2. no 3. yes",
            "Verdicts: see below.\n1: 1, 2: 0, 3: 1",
        ] {
            assert_eq!(says(text), yes, "{text}");
        }
        for text in [
            "1 0",
            "1 0 1 0",
            "yes no yes",
            "1 0 2",
            "",
            "1. yes 3. no 2. yes",
            "1: 1, 2: 0",
            "1. 1\n3. 0\n2. 1",
            "1. 1\n2. 0",
        ] {
            assert_eq!(says(text), [None; 3], "{text}");
        }
    }

    #[test]
    fn degrees_are_lines_that_count_and_their_expected_values() {
        let said = |text: &str| degrees(&reply(text, &[]), 3).map(|degrees| degrees.said);
        for text in ["1: 0\n2: 9\n3: 4", "1: 5\nNo.\n1:0\n 2 :  9 \n3: 4\n"] {
            assert_eq!(said(text), Some(vec![0, 9, 4]), "{text}");
        }
        for text in ["1: 0\n2: 9", "1: 0\n3: 4\n2: 9", "1: 0\n2: 9\n3: 4\n4: 1", "1: 0\n2: 10\n3: 4", "0 9 4", ""] {
            assert_eq!(said(text), None, "{text}");
        }
        let odds = |token: &str, likely: &[(&str, f64)]| Odds {
            token: token.to_owned(),
            likely: likely.iter().map(|(token, p)| ((*token).to_owned(), f64::ln(*p))).collect(),
        };
        let all = [
            odds("1:", &[("1:", 1.0)]),
            odds(" 0", &[(" 0", 0.5), (" 9", 0.25), ("no", 0.25)]),
            odds("\n", &[]),
            odds("2", &[]),
            odds(": 3\n", &[(": 3\n", 0.4), (": 4\n", 0.4), (" 12", 0.2)]),
        ];
        let reply = Reply { text: "1: 0\n2: 3".to_owned(), odds: all.to_vec(), ..Reply::default() };
        let expected = degrees(&reply, 2).expect("two").expected.expect("probabilities");
        assert!((expected[0] - 3.0).abs() < 1e-12 && (expected[1] - 3.5).abs() < 1e-12, "{expected:?}");
        let other = Reply { text: "1: 0\n2: 5".to_owned(), ..reply };
        assert_eq!(degrees(&other, 2).expect("two").expected, None, "another answer");
    }

    #[test]
    fn probabilities_are_those_of_the_digits_that_were_read() {
        let odds = |text: &str, odds: &[(&str, f64)]| {
            verdicts(&reply(text, odds), 2).iter().map(|verdict| verdict.odds).collect::<Vec<_>>()
        };
        let found = odds("1 0", &[("1", 0.4), (" ", 0.1), (" 0", 0.1)]);
        assert!(found.iter().flatten().zip([0.8, 0.2]).all(|(p, expected)| (p - expected).abs() < 1e-12), "{found:?}");
        assert_eq!(odds("1 0", &[("0", 0.1), ("1", 0.4), ("0", 0.1)]).len(), 2, "the last ones");
        assert_eq!(odds("1 0", &[("1", 0.4)]), [None; 2]);
        assert_eq!(odds("10", &[("10", 0.4), ("x", 0.1)]), [None; 2]);
        assert_eq!(odds("1 0", &[("0", 0.1), ("1", 0.4)]), [None; 2], "another answer");
    }
}
