//! How is one field of JSON lines read?
//!
//! Every line is an object; of it, the named field alone is taken, the rest is passed over. Blank lines are allowed.
//! The field is a text, or a conversation that the chat template makes one. A name with a dot is that of a field, or of
//! one inside an object, where no field has the whole name.

use super::bytes::{Bytes, damage};
use super::form::Packing;
use super::messages::beside_of;
use super::place::Place;
use super::record::{Record, rendered};
use super::source::Source;
use super::utf8::{faults, first_fault};
use crate::error::CaptureError;
use serde::Deserialize;
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt;
use std::io::{BufRead, Read};
use std::marker::PhantomData;
use std::sync::atomic::Ordering;
use untangle_model::{Beside, Conversation};
use untangle_schema::AnnotatedHeader;
use untangle_schema::annotated;
use untangle_schema::python::mend;

/// Longest line. Longer ones are no documents but whole files without line breaks.
const LONGEST_LINE: u64 = 64 << 20;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Whether the first line of a file is the table of concepts that stands before annotated documents, and no document.
fn is_annotated_header(line: &[u8]) -> bool {
    serde_json::from_slice::<AnnotatedHeader>(line).is_ok_and(|header| header.format == annotated::FORMAT)
}

/// The records of a file of JSON lines.
pub(super) struct JsonLines<'a> {
    source: Source<'a>,
    bytes: Bytes,
    /// Where the next line begins.
    place: Place,
    line: Vec<u8>,
}

impl<'a> JsonLines<'a> {
    /// Opens a file at the begin of a line.
    pub(super) fn open(source: Source<'a>, from: Place) -> Result<Self, CaptureError> {
        let bytes = Bytes::open(source.path, source.label, source.packing, from.at)?;
        Ok(JsonLines { source, bytes, place: Place { within: 0, ..from }, line: Vec::new() })
    }

    /// The record of the next line that is not blank.
    pub(super) fn next(&mut self) -> Result<Option<Record>, CaptureError> {
        loop {
            self.line.clear();
            let mut limited = self.bytes.reader.by_ref().take(LONGEST_LINE);
            limited.read_until(b'\n', &mut self.line).map_err(damage(self.source.label))?;
            if self.line.is_empty() {
                return Ok(None);
            }
            let start = self.place;
            self.advance();
            if self.line.len() as u64 == LONGEST_LINE && !self.line.ends_with(b"\n") {
                return Err(self.wrong(&format!("is longer than {} MiB", LONGEST_LINE >> 20)));
            }
            let content = self.line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&self.line);
            if content.trim_ascii().is_empty() || start.at == 0 && is_annotated_header(content) {
                continue;
            }
            let (text, replaced) = self.text_of(content)?;
            // The place of the fault where bytes are wrong; escapes of half a character have none of their own.
            let fault = first_fault(content).map_or(0, |at| at + self.line.len() - content.len());
            let at = format!("line {} (byte {})", self.place.line, start.at + fault as u64);
            return Ok(Some(Record { text, replaced, at, start, end: self.place }));
        }
    }

    /// Goes on behind the line that was read.
    fn advance(&mut self) {
        self.place.at += self.line.len() as u64;
        self.place.line += 1;
        let plain = self.source.packing == Packing::None;
        self.place.read = if plain { self.place.at } else { self.bytes.read.load(Ordering::Relaxed) };
    }

    /// The text of the field, none where it is null, with the number of byte sequences that were replaced in it.
    fn text_of(&self, line: &[u8]) -> Result<(Option<Vec<u8>>, u64), CaptureError> {
        let Some(template) = self.source.chat else {
            let (text, _) = self.field_of::<Text>(line, false)?;
            return Ok((text.map(|text| text.0), 0));
        };
        // Braces and quotation marks are where they were, whatever else is replaced.
        let whole = String::from_utf8_lossy(line);
        let (conversation, halves) = self.field_of::<Conversation>(whole.as_bytes(), true)?;
        let replaced = halves + faults(line);
        let Some(conversation) = conversation else { return Ok((None, replaced)) };
        let mut beside = <[Beside; 2]>::default();
        for (list, name) in beside.iter_mut().zip(Beside::NAMES).filter(|(_, name)| template.asks_for(name)) {
            let name = beside_of(self.source.field, name);
            *list = self.value_of(whole.as_bytes(), &name, true)?.0.flatten().unwrap_or_default();
        }
        let text =
            rendered(template, &conversation.with(beside), self.source.observer, |problem| self.wrong(&problem))?;
        Ok((Some(text), replaced))
    }

    /// The value of the field, none where it is null, with the number of byte sequences that had to be replaced, as
    /// halves of characters are where they stop the reading of a `conversation`.
    fn field_of<T: DeserializeOwned>(&self, line: &[u8], conversation: bool) -> Result<(Option<T>, u64), CaptureError> {
        let (found, replaced) = self.value_of(line, self.source.field, conversation)?;
        let missing = || self.wrong(&format!("has no field `{}`; choose another with --field", self.source.field));
        Ok((found.ok_or_else(missing)?, replaced))
    }

    /// The value of the field of this `name`, none where there is no such field, as [`JsonLines::field_of`].
    fn value_of<T: DeserializeOwned>(&self, line: &[u8], name: &str, conversation: bool) -> Found<T, CaptureError> {
        let (found, replaced) = match find::<T>(line, name) {
            Err(error) if conversation || !error.is_data() => {
                match mend(line, conversation.then_some(Conversation::json_of_not_finite)) {
                    // What is said of the line is said of it as it stands.
                    Some(mended) => {
                        let again = find::<T>(&mended.line, name);
                        (again.map_err(|new| if new.is_data() { new } else { error }), mended.replaced)
                    }
                    None => (Err(error), 0),
                }
            }
            found => (found, 0),
        };
        found.map(|found| (found, replaced)).map_err(|error| self.wrong(&self.reason(line, name, &error)))
    }

    fn reason(&self, line: &[u8], name: &str, error: &serde_json::Error) -> String {
        let text = error.to_string();
        // The library counts lines of its own.
        let said = text.rsplit_once(" at line ").map_or(text.as_str(), |(said, _)| said);
        let column = error.column();
        if !line.trim_ascii().starts_with(b"{") {
            return "is no JSON object; the file must hold one object a line (of an array, `jq -c '.[]'` makes lines)"
                .to_owned();
        }
        match error.classify() {
            serde_json::error::Category::Data => format!("field `{name}`: {said}"),
            _ => format!("is no JSON ({said}, column {column}); the file must hold one object a line"),
        }
    }

    /// What is wrong with the line that was read.
    fn wrong(&self, problem: &str) -> CaptureError {
        let (file, at) = (self.source.label.to_owned(), format!("line {}", self.place.line));
        CaptureError::Record { file, at, problem: problem.to_owned() }
    }
}

/// A field where there is one, its value where it is not null, and byte sequences that were replaced for its sake.
type Found<T, E> = Result<(Option<Option<T>>, u64), E>;

/// Looks for one field of the object in a line: none where it is missing, none inside where it is null.
fn find<T: DeserializeOwned>(line: &[u8], name: &str) -> Result<Option<Option<T>>, serde_json::Error> {
    let mut json = serde_json::Deserializer::from_slice(line);
    let found = json.deserialize_map(Field { name, value: PhantomData })?;
    json.end()?;
    Ok(found)
}

/// The field of this name in an object.
struct Field<'a, T> {
    name: &'a str,
    value: PhantomData<T>,
}

impl<'de, T: Deserialize<'de>> DeserializeSeed<'de> for Field<'_, T> {
    type Value = Option<Option<T>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for Field<'_, T> {
    type Value = Option<Option<T>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut whole, mut below) = (None, None);
        while let Some(named) = map.next_key_seed(Key(self.name))? {
            match named {
                Named::Field => whole = Some(map.next_value()?),
                Named::Above(length) => {
                    let name = &self.name[length..];
                    below = map.next_value_seed(Field { name, value: PhantomData })?;
                }
                Named::Otherwise => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(whole.or(below))
    }

    // What follows is the value of a field that has no field inside: null, or something else.

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Some(None))
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }
}

/// What a key is to the name that is looked for.
enum Named {
    /// The name.
    Field,
    /// What stands before a dot of it; so many bytes with the dot.
    Above(usize),
    Otherwise,
}

struct Key<'a>(&'a str);

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = Named;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Named, D::Error> {
        deserializer.deserialize_bytes(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = Named;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_bytes<E: Error>(self, key: &[u8]) -> Result<Named, E> {
        let name = self.0.as_bytes();
        Ok(if key == name {
            Named::Field
        } else if name.get(key.len()) == Some(&b'.') && name.starts_with(key) {
            Named::Above(key.len() + 1)
        } else {
            Named::Otherwise
        })
    }
}

/// The bytes of a string. They need not be UTF-8: the escape of half a character, which some writers leave, is none.
struct Text(Vec<u8>);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = Text;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Text, E> {
                Ok(Text(bytes.to_vec()))
            }
        }
        deserializer.deserialize_byte_buf(Bytes)
    }
}
