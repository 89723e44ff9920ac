//! How is a number or a text written in a given form?
//!
//! The mini-language of Python's `format`: `[[fill]align][sign][#][0][width][,][.precision][type]`.

use super::budget::{Budget, Failure, Result};
use super::text::{float, shown};
use super::value::Value;

/// A form.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spec {
    pub(super) fill: Option<char>,
    pub(super) align: Option<char>,
    pub(super) sign: Option<char>,
    pub(super) alternate: bool,
    pub(super) zeros: bool,
    pub(super) width: usize,
    pub(super) grouping: Option<char>,
    pub(super) precision: Option<usize>,
    pub(super) kind: Option<char>,
}

/// Reads a form.
pub(super) fn parse(text: &str) -> Result<Spec> {
    let mut spec = Spec::default();
    let mut chars = text.chars().peekable();
    let is_align = |c: &char| matches!(c, '<' | '>' | '=' | '^');
    let mut ahead = text.chars();
    let (first, second) = (ahead.next(), ahead.next());
    if second.as_ref().is_some_and(is_align) {
        (spec.fill, spec.align) = (first, second);
        chars.nth(1);
    } else {
        spec.align = chars.next_if(is_align);
    }
    spec.sign = chars.next_if(|c| matches!(c, '+' | '-' | ' '));
    spec.alternate = chars.next_if_eq(&'#').is_some();
    spec.zeros = chars.next_if_eq(&'0').is_some();
    spec.width = number(&mut chars)?.unwrap_or(0);
    spec.grouping = chars.next_if(|c| matches!(c, ',' | '_'));
    if chars.next_if_eq(&'.').is_some() {
        spec.precision = Some(number(&mut chars)?.ok_or_else(|| Failure::new("Format specifier missing precision"))?);
    }
    spec.kind = chars.next();
    if chars.next().is_some() {
        return Err(Failure::new("Invalid format specifier"));
    }
    Ok(spec)
}

/// The whole number that comes next.
pub(super) fn number(chars: &mut std::iter::Peekable<impl Iterator<Item = char>>) -> Result<Option<usize>> {
    let mut found: Option<usize> = None;
    while let Some(digit) = chars.next_if(char::is_ascii_digit) {
        let digit = digit as usize - '0' as usize;
        let more = found.unwrap_or(0).checked_mul(10).and_then(|tens| tens.checked_add(digit));
        found = Some(more.ok_or_else(|| Failure::new("Too many decimal digits in format string"))?);
    }
    Ok(found)
}

/// `format(value, spec)`.
pub(super) fn formatted(budget: &Budget, value: &Value, text: &str) -> Result<String> {
    if text.is_empty() {
        return Ok(shown(budget, value)?.as_ref().to_owned());
    }
    let spec = parse(text)?;
    match value {
        Value::Text(text) | Value::Markup(text) => of_text(budget, text, spec),
        Value::Float(number) => of_float(budget, *number, spec),
        Value::Int(_) | Value::Bool(_) => {
            let number = value.as_int().unwrap_or(0);
            match spec.kind {
                // A truth value is written by its name only without any form.
                None | Some('d' | 'b' | 'o' | 'x' | 'X' | 'n' | 'c') => of_int(budget, number, spec),
                _ => of_float(budget, number as f64, spec),
            }
        }
        other => Err(Failure::new(format!("unsupported format string passed to {}.__format__", other.type_name()))),
    }
}

fn unknown(spec: Spec, what: &str) -> Failure {
    let kind = spec.kind.unwrap_or(' ');
    Failure::new(format!("Unknown format code '{kind}' for object of type '{what}'"))
}

fn of_text(budget: &Budget, text: &str, spec: Spec) -> Result<String> {
    if !matches!(spec.kind, None | Some('s')) {
        return Err(unknown(spec, "str"));
    }
    if spec.sign.is_some() || spec.align == Some('=') || spec.grouping.is_some() || spec.alternate {
        return Err(Failure::new("Sign, alternate form, '=' and ',' are not allowed in string format specifier"));
    }
    let cut: String = text.chars().take(spec.precision.unwrap_or(usize::MAX)).collect();
    let fill = spec.fill.unwrap_or(if spec.zeros { '0' } else { ' ' });
    padded(budget, &cut, fill, spec.align.unwrap_or('<'), spec.width)
}

fn of_int(budget: &Budget, number: i128, spec: Spec) -> Result<String> {
    if spec.precision.is_some() {
        return Err(Failure::new("Precision not allowed in integer format specifier"));
    }
    let digits = number.unsigned_abs();
    let (prefix, digits, every) = match spec.kind {
        Some('b') => ("0b", format!("{digits:b}"), 4),
        Some('o') => ("0o", format!("{digits:o}"), 4),
        Some('x') => ("0x", format!("{digits:x}"), 4),
        Some('X') => ("0X", format!("{digits:X}"), 4),
        Some('c') => {
            let c = u32::try_from(number).ok().and_then(char::from_u32);
            let c = c.ok_or_else(|| Failure::new("%c arg not in range(0x110000)"))?;
            return padded(budget, &c.to_string(), spec.fill.unwrap_or(' '), spec.align.unwrap_or('<'), spec.width);
        }
        _ => ("", digits.to_string(), 3),
    };
    let prefix = if spec.alternate { prefix } else { "" };
    signed(budget, number < 0, prefix, (digits, "", every), spec)
}

pub(super) fn of_float(budget: &Budget, number: f64, spec: Spec) -> Result<String> {
    check_precision(budget, spec.precision)?;
    let magnitude = number.abs();
    let kind = spec.kind.unwrap_or('\0');
    let body = match kind {
        'f' | 'F' | 'e' | 'E' | 'g' | 'G' | 'n' => plain_float(magnitude, kind, spec.precision, spec.alternate),
        '%' => plain_float(magnitude * 100.0, 'f', spec.precision, spec.alternate) + "%",
        '\0' => match spec.precision {
            None => float(magnitude),
            Some(precision) => {
                // As `g`, but never without a digit behind the point.
                let text = plain_float(magnitude, 'r', Some(precision), spec.alternate);
                if text.contains(['.', 'e', 'n', 'i']) { text } else { text + ".0" }
            }
        },
        _ => return Err(unknown(spec, "float")),
    };
    let whole = body.find(|c: char| !c.is_ascii_digit()).unwrap_or(body.len());
    let negative = number.is_sign_negative() && !number.is_nan();
    signed(budget, negative, "", (body[..whole].to_owned(), &body[whole..], 3), spec)
}

/// That a number of digits can be written.
pub(super) fn check_precision(budget: &Budget, precision: Option<usize>) -> Result<()> {
    let digits = precision.unwrap_or(0);
    // More than the standard library's limit; a number has 1074 digits at most.
    if digits > 60_000 {
        return Err(Failure::new(format!("precision of {digits} digits: more than 60000 are not supported")));
    }
    budget.claim(digits + 400)
}

/// A number without its sign in the forms that C's printf has; `r` is what Python uses where no form is given.
pub(super) fn plain_float(number: f64, kind: char, precision: Option<usize>, alternate: bool) -> String {
    let upper = kind.is_ascii_uppercase();
    let case = |text: String| if upper { text.to_uppercase() } else { text };
    if !number.is_finite() {
        return case(if number.is_nan() { "nan" } else { "inf" }.to_owned());
    }
    let precision = precision.unwrap_or(6);
    let exponential = |digits: usize| {
        let text = format!("{number:.digits$e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        (mantissa.to_owned(), exponent.parse::<i32>().unwrap_or(0))
    };
    let with_exponent = |mantissa: &str, exponent: i32| {
        format!("{mantissa}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
    };
    let point = |text: String| if alternate && !text.contains('.') { text + "." } else { text };
    match kind.to_ascii_lowercase() {
        'f' => point(format!("{number:.precision$}")),
        'e' => {
            let (mantissa, exponent) = exponential(precision);
            case(with_exponent(&point(mantissa), exponent))
        }
        general => {
            let precision = precision.max(1);
            let (mantissa, exponent) = exponential(precision - 1);
            let limit = precision as i32 - i32::from(general == 'r');
            let trim = |text: &str| match text.contains('.') && !alternate {
                true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
                false => text.to_owned(),
            };
            if (-4..limit.max(1 - i32::from(general == 'r'))).contains(&exponent) {
                let digits = (precision as i32 - 1 - exponent).max(0) as usize;
                trim(&point(format!("{number:.digits$}")))
            } else {
                case(with_exponent(&trim(&point(mantissa)), exponent))
            }
        }
    }
}

/// A number with sign, prefix, groups and padding.
fn signed(
    budget: &Budget,
    negative: bool,
    prefix: &str,
    (digits, tail, every): (String, &str, usize),
    spec: Spec,
) -> Result<String> {
    let sign = match spec.sign {
        _ if negative => "-",
        Some('+') => "+",
        Some(' ') => " ",
        _ => "",
    };
    let head = format!("{sign}{prefix}");
    let by_zeros = spec.zeros && spec.align.is_none();
    budget.claim(spec.width)?;
    let room = if by_zeros { spec.width.saturating_sub(head.len() + tail.len()) } else { 0 };
    let digits = grouped(digits, every, spec.grouping, room);
    let fill = spec.fill.unwrap_or(if spec.zeros { '0' } else { ' ' });
    let align = spec.align.unwrap_or(if spec.zeros { '=' } else { '>' });
    if align == '=' {
        let body = format!("{digits}{tail}");
        let rest = padded(budget, &body, fill, '>', spec.width.saturating_sub(head.len()))?;
        return Ok(head + &rest);
    }
    padded(budget, &format!("{head}{digits}{tail}"), fill, align, spec.width)
}

/// Digits in groups, with zeros before them up to `room`.
fn grouped(digits: String, every: usize, separator: Option<char>, room: usize) -> String {
    let Some(separator) = separator else {
        let zeros = room.saturating_sub(digits.len());
        return "0".repeat(zeros) + &digits;
    };
    let mut out: Vec<char> = Vec::new();
    let mut rest = digits.chars().rev();
    let mut written = 0;
    loop {
        let next = rest.next();
        if next.is_none() && out.len() >= room {
            break;
        }
        if written > 0 && written % every == 0 {
            out.push(separator);
            if next.is_none() && out.len() >= room {
                out.push('0');
                break;
            }
        }
        out.push(next.unwrap_or('0'));
        written += 1;
    }
    out.iter().rev().collect()
}

/// Text of at least `width` characters.
pub(super) fn padded(budget: &Budget, text: &str, fill: char, align: char, width: usize) -> Result<String> {
    let missing = width.saturating_sub(text.chars().count());
    budget.claim(text.len().saturating_add(missing.saturating_mul(fill.len_utf8())))?;
    let left = match align {
        '<' => 0,
        '^' => missing / 2,
        _ => missing,
    };
    let run = |count: usize| fill.to_string().repeat(count);
    Ok(run(left) + text + &run(missing - left))
}
