//! What does a template get that asks for the date?
//!
//! Always the same day, 26 July 2024: what Llama 3's templates write where there is no clock. Today's would make the
//! same command give other bytes tomorrow.

/// The fields of glibc's strftime that stand for something, at midnight of that day, a Friday, without a time zone.
const FIELDS: [(char, &str); 38] = [
    ('A', "Friday"),
    ('a', "Fri"),
    ('B', "July"),
    ('b', "Jul"),
    ('C', "20"),
    ('c', "Fri Jul 26 00:00:00 2024"),
    ('D', "07/26/24"),
    ('d', "26"),
    ('e', "26"),
    ('F', "2024-07-26"),
    ('f', "000000"),
    ('G', "2024"),
    ('g', "24"),
    ('H', "00"),
    ('h', "Jul"),
    ('I', "12"),
    ('j', "208"),
    ('k', " 0"),
    ('l', "12"),
    ('M', "00"),
    ('m', "07"),
    ('n', "\n"),
    ('P', "am"),
    ('p', "AM"),
    ('R', "00:00"),
    ('r', "12:00:00 AM"),
    ('S', "00"),
    ('T', "00:00:00"),
    ('t', "\t"),
    ('U', "29"),
    ('u', "5"),
    ('V', "30"),
    ('W', "30"),
    ('w', "5"),
    ('X', "00:00:00"),
    ('x', "07/26/24"),
    ('Y', "2024"),
    ('y', "24"),
];

/// Fields of which `-` may take the zero or blank before the number; of those of letters it takes nothing.
const PLAIN: &str = "AaBbCdeGgHhIjklMmPpSUuVWwYy";

/// The day in the form that `format` describes, as Python's `strftime` does in the C locale.
///
/// # Errors
/// The field that is not supported: one with other flags than `-`, or the seconds since 1970.
pub(super) fn strftime(format: &str) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = format;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        let (plain, field) = match rest[at + 1..].strip_prefix('-') {
            Some(field) => (true, field),
            None => (false, &rest[at + 1..]),
        };
        let Some(letter) = field.chars().next() else { return Ok(out + &rest[at..]) };
        let code = &rest[at..rest.len() - field.len() + letter.len_utf8()];
        rest = &field[letter.len_utf8()..];
        match FIELDS.iter().find(|(name, _)| *name == letter) {
            Some((_, text)) if plain && PLAIN.contains(letter) => {
                out.push_str(text.strip_prefix(['0', ' ']).unwrap_or(text));
            }
            Some((_, text)) if !plain => out.push_str(text),
            None if letter == '%' && !plain => out.push('%'),
            None if matches!(letter, 'z' | 'Z') && !plain => {}
            // What glibc knows nothing of, it writes as it stands.
            None if "iJKLNoQqv".contains(letter) && !plain => out.push_str(code),
            _ => return Err(format!("the field '{code}' of strftime_now is not supported")),
        }
    }
    Ok(out + rest)
}

#[cfg(test)]
mod tests {
    use super::strftime;

    #[test]
    fn the_day_is_written_as_python_writes_it() {
        let written = |format: &str| strftime(format).expect("known");
        assert_eq!(written("%d %b %Y"), "26 Jul 2024");
        assert_eq!(written("%A, %B %-d (%j), %-m/%y 100%% %Q"), "Friday, July 26 (208), 7/24 100% %Q");
        assert_eq!(written("%Y-%m-%d %H:%M:%S"), "2024-07-26 00:00:00");
        assert_eq!(written("50%"), "50%");
        assert_eq!(written("heute"), "heute");
        assert_eq!(written("%-H|%-k|%-j|%-I|%z%Z"), "0|0|208|12|");
    }

    #[test]
    fn fields_that_are_not_known_are_refused() {
        for format in ["%s", "%0d", "%_d", "%^a", "%#a", "%10Y", "%Od", "%Ey", "%+", "%-F", "%-D", "%:z", "%é"] {
            let said = strftime(&format!("on %d {format}")).expect_err(format);
            assert!(said.contains("of strftime_now is not supported"), "{said}");
        }
    }
}
