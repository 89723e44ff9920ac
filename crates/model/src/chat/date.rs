//! What does a template get that asks for the date?
//!
//! Always the same day, 26 July 2024: what Llama 3's templates write where there is no clock. Today's would make the
//! same command give other bytes tomorrow.

/// The fields of C's strftime that stand for something.
const FIELDS: [(char, &str); 17] = [
    ('Y', "2024"),
    ('y', "24"),
    ('m', "07"),
    ('d', "26"),
    ('e', "26"),
    ('B', "July"),
    ('b', "Jul"),
    ('A', "Friday"),
    ('a', "Fri"),
    ('j', "208"),
    ('H', "00"),
    ('I', "12"),
    ('M', "00"),
    ('S', "00"),
    ('p', "AM"),
    ('F', "2024-07-26"),
    ('T', "00:00:00"),
];

/// The day in the form that `format` describes, as Python's `strftime` does in the C locale.
pub(super) fn strftime(format: &str) -> String {
    let mut out = String::new();
    let mut rest = format;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        let (plain, field) = match rest[at + 1..].strip_prefix('-') {
            Some(field) => (true, field),
            None => (false, &rest[at + 1..]),
        };
        let Some(letter) = field.chars().next() else { return out + &rest[at..] };
        rest = &field[letter.len_utf8()..];
        match FIELDS.iter().find(|(name, _)| *name == letter) {
            // Without the zero before it.
            Some((_, text)) if plain && text.len() == 2 => out.push_str(text.strip_prefix('0').unwrap_or(text)),
            Some((_, text)) => out.push_str(text),
            None if letter == '%' => out.push('%'),
            None => out.extend(['%', letter]),
        }
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::strftime;

    #[test]
    fn the_day_is_written_as_python_writes_it() {
        assert_eq!(strftime("%d %b %Y"), "26 Jul 2024");
        assert_eq!(strftime("%A, %B %-d (%j), %-m/%y 100%% %Q"), "Friday, July 26 (208), 7/24 100% %Q");
        assert_eq!(strftime("%Y-%m-%d %H:%M:%S"), "2024-07-26 00:00:00");
        assert_eq!(strftime("50%"), "50%");
        assert_eq!(strftime("heute"), "heute");
    }
}
