//! In which order does a JSON text name things?
//!
//! The maps that serde_json gives are sorted; tokens get their ids in the order in which a file names them.

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::collections::HashMap;
use std::fmt;

/// The names in a JSON object in the order of the text, those of the objects in it too. Of a name that stands twice, the
/// place is the first one's and the content the last one's, as in Python. Of any other value, nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Order(Vec<(String, Order)>);

impl Order {
    /// The order of a text; of one that is not JSON, none.
    pub(crate) fn of_text(text: &[u8]) -> Self {
        serde_json::from_slice(text).unwrap_or_default()
    }

    /// The names.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// The names in the object under `name`.
    pub(crate) fn names_in(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(own, _)| own == name).flat_map(|(_, inner)| inner.names())
    }
}

impl<'de> Deserialize<'de> for Order {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Names)
    }
}

struct Names;

impl<'de> Visitor<'de> for Names {
    type Value = Order;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Order, A::Error> {
        let mut names: Vec<(String, Order)> = Vec::new();
        let mut places = HashMap::new();
        while let Some((name, inner)) = map.next_entry::<String, Order>()? {
            match places.get(&name) {
                Some(&place) => names[place] = (name, inner),
                None => {
                    places.insert(name.clone(), names.len());
                    names.push((name, inner));
                }
            }
        }
        Ok(Order(names))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Order, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Order::default())
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Order, E> {
        Ok(Order::default())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Order, E> {
        Ok(Order::default())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Order, E> {
        Ok(Order::default())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Order, E> {
        Ok(Order::default())
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Order, E> {
        Ok(Order::default())
    }

    fn visit_unit<E: Error>(self) -> Result<Order, E> {
        Ok(Order::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_as_they_are_written() {
        let text =
            br#"{"z": 1, "a": {"y": "b", "x": [{"w": null}], "n": -1.5e3}, "m": true, "z": {"k": 0}, "b": null}"#;
        let order = Order::of_text(text);
        assert_eq!(order.names().collect::<Vec<_>>(), ["z", "a", "m", "b"]);
        assert_eq!(order.names_in("a").collect::<Vec<_>>(), ["y", "x", "n"]);
        assert_eq!(order.names_in("z").collect::<Vec<_>>(), ["k"]);
        assert_eq!(order.names_in("m").count() + order.names_in("absent").count(), 0);
        assert_eq!(Order::of_text(b"{"), Order::default());
    }
}
