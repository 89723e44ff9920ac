//! What do conversations consist of?
//!
//! JSON, with the fields of objects in their order.

use std::collections::HashMap;
use std::sync::Arc;

/// A value of JSON.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Data {
    None,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(Arc<str>),
    List(Vec<Data>),
    /// The last of several fields of one name counts, in the place of the first, as in Python.
    Dict(Vec<(Arc<str>, Data)>),
}

impl Data {
    pub(super) fn text(text: &str) -> Self {
        Data::Text(text.into())
    }

    /// The field of a dict.
    pub(super) fn field(&self, name: &str) -> Option<&Data> {
        match self {
            Data::Dict(fields) => fields.iter().find(|(known, _)| **known == *name).map(|(_, value)| value),
            _ => None,
        }
    }

    /// What it is, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Data::None => "null",
            Data::Bool(_) => "a truth value",
            Data::Int(_) | Data::Float(_) => "a number",
            Data::Text(_) => "a string",
            Data::List(_) => "a list",
            Data::Dict(_) => "an object",
        }
    }

    /// Adds its number of values and bytes.
    pub(super) fn measure(&self, values: &mut u64, bytes: &mut u64) {
        *values += 1;
        match self {
            Data::Text(text) => *bytes += text.len() as u64,
            Data::List(items) => items.iter().for_each(|item| item.measure(values, bytes)),
            Data::Dict(fields) => {
                for (name, value) in fields {
                    *bytes += name.len() as u64;
                    value.measure(values, bytes);
                }
            }
            _ => {}
        }
    }
}

/// Chosen: lists and objects inside each other; the libraries that write JSON have a limit of this kind themselves.
const NESTING: u16 = 128;
/// Zero times a power of ten, in a spelling that no writer of JSON has: what is not a number.
const NAN: &str = "0e-0999999999";

/// The number of JSON by which a conversation holds a float that JSON has none for.
pub(super) fn json_of_not_finite(number: f64) -> &'static str {
    match number {
        _ if number.is_nan() => NAN,
        _ if number > 0.0 => "1e999",
        _ => "-1e999",
    }
}

/// Reads JSON as Python's `json` does, where numbers have the digits that they are written with.
struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: u16,
}

impl Data {
    /// The value of a text of JSON.
    ///
    /// # Errors
    /// What in it is no JSON, or has no place here.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let mut reader = Reader { text, at: 0, depth: 0 };
        let value = reader.value()?;
        match reader.peek() {
            None => Ok(value),
            Some(_) => Err(reader.unexpected()),
        }
    }
}

impl Reader<'_> {
    /// The byte that comes next behind blanks.
    fn peek(&mut self) -> Option<u8> {
        let rest = &self.text.as_bytes()[self.at..];
        self.at += rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')).count();
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn unexpected(&self) -> String {
        format!("no JSON at byte {}", self.at)
    }

    fn value(&mut self) -> Result<Data, String> {
        match self.peek() {
            Some(b'"') => self.string().map(Data::Text),
            Some(b'[') => self.nested(Self::list),
            Some(b'{') => self.nested(Self::object),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => {
                let words = [("null", Data::None), ("true", Data::Bool(true)), ("false", Data::Bool(false))];
                let found = words.into_iter().find(|(word, _)| self.text[self.at..].starts_with(word));
                let (word, value) = found.ok_or_else(|| self.unexpected())?;
                self.at += word.len();
                Ok(value)
            }
        }
    }

    fn nested(&mut self, read: fn(&mut Self) -> Result<Data, String>) -> Result<Data, String> {
        if self.depth == NESTING {
            return Err(format!("lists and objects nested more than {NESTING} deep"));
        }
        self.depth += 1;
        self.at += 1;
        let value = read(self)?;
        self.depth -= 1;
        Ok(value)
    }

    /// What stands behind an element: whether there is another.
    fn goes_on(&mut self, end: u8) -> Result<bool, String> {
        match self.skip(b',') {
            true => Ok(true),
            false if self.skip(end) => Ok(false),
            false => Err(self.unexpected()),
        }
    }

    fn list(&mut self) -> Result<Data, String> {
        let mut items = Vec::new();
        if self.skip(b']') {
            return Ok(Data::List(items));
        }
        loop {
            items.push(self.value()?);
            if !self.goes_on(b']')? {
                return Ok(Data::List(items));
            }
        }
    }

    fn object(&mut self) -> Result<Data, String> {
        let mut fields: Vec<(Arc<str>, Data)> = Vec::new();
        let mut places: HashMap<Arc<str>, usize> = HashMap::new();
        if self.skip(b'}') {
            return Ok(Data::Dict(fields));
        }
        loop {
            if self.peek() != Some(b'"') {
                return Err(self.unexpected());
            }
            let name = self.string()?;
            if !self.skip(b':') {
                return Err(self.unexpected());
            }
            let value = self.value()?;
            match places.get(&name) {
                Some(place) => fields[*place].1 = value,
                None => {
                    places.insert(name.clone(), fields.len());
                    fields.push((name, value));
                }
            }
            if !self.goes_on(b'}')? {
                return Ok(Data::Dict(fields));
            }
        }
    }

    fn string(&mut self) -> Result<Arc<str>, String> {
        let (start, bytes) = (self.at, self.text.as_bytes());
        let mut end = start + 1;
        let mut plain = true;
        while let Some(byte) = bytes.get(end).filter(|byte| **byte != b'"') {
            plain &= *byte >= b' ' && *byte != b'\\';
            end += if *byte == b'\\' { 2 } else { 1 };
        }
        let quoted = self.text.get(start..=end).ok_or_else(|| self.unexpected())?;
        self.at = end + 1;
        if plain {
            return Ok(quoted[1..quoted.len() - 1].into());
        }
        let text: String = serde_json::from_str(quoted).map_err(|error| error.to_string())?;
        Ok(text.into())
    }

    fn number(&mut self) -> Result<Data, String> {
        let rest = &self.text[self.at..];
        let length = rest.find(|c: char| !matches!(c, '0'..='9' | '+' | '-' | '.' | 'e' | 'E')).unwrap_or(rest.len());
        let text = &rest[..length];
        let is_whole = !text.contains(['.', 'e', 'E']);
        let value = match is_whole {
            _ if text == NAN => Some(Data::Float(f64::NAN)),
            // What is too large is infinite, as in Python.
            false => text.parse().ok().map(Data::Float),
            true => text.parse().ok().map(Data::Int),
        };
        let value = value.ok_or_else(|| match is_whole && text.len() > 1 {
            true => format!("the whole number {:.50}: it has more than 128 bits, which is not supported", text),
            false => self.unexpected(),
        })?;
        self.at += length;
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Data {
        Data::read(text).expect(text)
    }

    #[test]
    fn numbers_are_what_python_reads() {
        assert_eq!(read("12345678901234567890123"), Data::Int(12_345_678_901_234_567_890_123));
        assert_eq!(read("-9223372036854775809"), Data::Int(-9_223_372_036_854_775_809));
        assert_eq!(read("-0"), Data::Int(0));
        for (text, expected) in [
            ("-0.0", -0.0f64),
            ("1e400", f64::INFINITY),
            ("-1e400", f64::NEG_INFINITY),
            ("1E5", 1e5),
            ("100000000000000000000.0", 1e20),
            (json_of_not_finite(f64::INFINITY), f64::INFINITY),
            (json_of_not_finite(f64::NEG_INFINITY), f64::NEG_INFINITY),
            (json_of_not_finite(f64::NAN), f64::NAN),
        ] {
            let Data::Float(found) = read(text) else { panic!("{text} is no float") };
            assert_eq!(found.is_nan(), expected.is_nan());
            assert!(found.is_nan() || found.to_bits() == expected.to_bits(), "{text}");
        }
        let said = Data::read(&"9".repeat(60)).expect_err("too long");
        assert!(said.contains("more than 128 bits"), "{said}");
    }

    #[test]
    fn what_is_read_is_what_was_written() {
        let text = r#" {"a" : [1, "x\n\u00e9\"", null, true, false, {}, [ ]], "b": {"c": "\ud83d\ude00"}, "a": 2} "#;
        let expected = Data::Dict(vec![
            ("a".into(), Data::Int(2)),
            ("b".into(), Data::Dict(vec![("c".into(), Data::text("😀"))])),
        ]);
        assert_eq!(read(text), expected);
        assert_eq!(
            read(r#"["a", {"é": []}]"#),
            Data::List(vec![Data::text("a"), Data::Dict(vec![("é".into(), Data::List(vec![]))])])
        );
        for wrong in [
            "",
            "[",
            "[1",
            "[1,",
            "[1,]",
            "{",
            "{\"a\"",
            "{\"a\":",
            "{\"a\":1,}",
            "{1:2}",
            "\"a",
            "\"\\",
            "nul",
            "1 2",
            "-",
            "\"\\ud800\"",
            "1e",
        ] {
            assert!(Data::read(wrong).is_err(), "{wrong}");
        }
        assert!(Data::read(&"[".repeat(100_000)).expect_err("deep").contains("nested more than 128 deep"));
    }

    #[test]
    fn objects_of_many_fields_are_read_in_time() {
        let fields: Vec<String> = (0..200_000).map(|n| format!("\"f{n}\":{n}")).collect();
        let began = std::time::Instant::now();
        let Data::Dict(found) = read(&format!("{{{}}}", fields.join(","))) else { panic!("no object") };
        assert_eq!(found.len(), 200_000);
        assert!(began.elapsed().as_secs() < 10);
    }
}
