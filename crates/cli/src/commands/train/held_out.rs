//! What training does not read, as the command line writes it.

use std::str::FromStr;
use untangle_store::HeldOut;

/// `0.05`, `last:40000` or `none`.
#[derive(Clone, Debug)]
pub(super) struct HeldOutChoice(pub(super) HeldOut);

impl FromStr for HeldOutChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "use a fraction such as 0.05, last:ROWS, or none".to_owned();
        let held_out = match (text, text.strip_prefix("last:")) {
            ("none", _) => HeldOut::None,
            (_, Some(rows)) => HeldOut::LastRows(rows.parse().map_err(|_| wrong())?),
            (fraction, None) => HeldOut::Fraction { fraction: fraction.parse().map_err(|_| wrong())?, seed: 0 },
        };
        Ok(HeldOutChoice(held_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_held_out_part_is_read_as_written() {
        let parse = |text: &str| text.parse::<HeldOutChoice>().map(|choice| choice.0);
        assert_eq!(parse("0.1"), Ok(HeldOut::Fraction { fraction: 0.1, seed: 0 }));
        assert_eq!(parse("last:40000"), Ok(HeldOut::LastRows(40_000)));
        assert_eq!(parse("none"), Ok(HeldOut::None));
        assert!(["", "last:", "last:x", "5%"].into_iter().all(|text| parse(text).is_err()));
    }
}
