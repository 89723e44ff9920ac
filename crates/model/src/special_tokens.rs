//! Which special tokens has a tokenizer, and in which order do they get their ids?
//!
//! As in transformers 5: first those with a name of their own, then those of other names (`image_token`), then further
//! ones without a name. What the class of the tokenizer names stands wherever the files do not say otherwise.

use crate::fields::Fields;
use crate::order::Order;
use serde_json::Value;
use std::collections::BTreeMap;
use tokenizers::AddedToken;

/// The special tokens that every tokenizer may have, in the order in which transformers adds them.
pub(crate) const NAMED: [&str; 7] =
    ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];
/// Lists of further ones; the second name is the older one.
const EXTRA: &str = "extra_special_tokens";
const ADDITIONAL: &str = "additional_special_tokens";

/// Special tokens as the files and the tokenizer's class have them.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct SpecialTokens {
    /// Those with a name, each name once.
    pub(crate) named: Vec<(String, AddedToken)>,
    /// Those of the lists.
    pub(crate) further: Vec<AddedToken>,
}

/// A file with its order of names.
#[derive(Debug)]
pub(crate) struct Ordered {
    pub(crate) fields: Fields,
    pub(crate) order: Order,
}

impl Ordered {
    /// The entries whose name is that of a token, except those that every tokenizer may have.
    fn own_names(&self) -> impl Iterator<Item = (&str, &Value)> {
        let is_own = |name: &&str| name.ends_with("_token") && !NAMED.contains(name);
        self.order.names().filter(is_own).filter_map(|name| Some((name, self.fields.get(name)?)))
    }

    /// The tokens of an object, in the order of the text.
    fn object(&self, field: &str) -> Vec<(String, AddedToken)> {
        let Some(map) = self.fields.entries(field) else { return Vec::new() };
        let named = |name: &str| Some((name.to_owned(), added_token(map.get(name)?, true)?));
        self.order.names_in(field).filter_map(named).collect()
    }

    /// The tokens of a list; none where there is no list.
    fn list(&self, field: &str) -> Option<Vec<AddedToken>> {
        Some(tokens(self.fields.get(field)?.as_array()?))
    }

    /// Whether a field is there and holds something.
    fn fills(&self, field: &str) -> bool {
        match self.fields.get(field) {
            Some(Value::Array(list)) => !list.is_empty(),
            Some(Value::Object(map)) => !map.is_empty(),
            other => other.is_some(),
        }
    }
}

/// Finds the special tokens of `tokenizer_config.json` and `special_tokens_map.json` and, where these say nothing, those
/// that a class names, each under its name.
pub(crate) fn find(config: Option<&Ordered>, map: Option<&Ordered>, defaults: &[(&str, &str)]) -> SpecialTokens {
    let (common, own): (Vec<_>, Vec<_>) = defaults.iter().copied().partition(|(name, _)| NAMED.contains(name));
    let mut named: Vec<(String, AddedToken)> = NAMED
        .iter()
        .filter_map(|name| {
            let holder = [map, config].into_iter().flatten().find(|file| file.fields.has(name));
            let default = || common.iter().find(|(own, _)| own == name).map(|(_, content)| plain(content));
            let token = holder.map_or_else(default, |file| added_token(file.fields.get(name)?, true))?;
            Some(((*name).to_owned(), token))
        })
        .collect();
    let mut names = Names::default();
    let given_to_class = names_for_class(&mut names, config, map, &own);
    // What tokenizer_config.json names by a plain text is taken out before the class sees it, and laid over the rest.
    let texts = config.into_iter().flat_map(Ordered::own_names).filter(|(_, value)| value.is_string());
    names.extend(texts.filter_map(token_of));
    if let Some(config) = config {
        names.extend(config.object(if config.fills(EXTRA) { EXTRA } else { ADDITIONAL }));
    }
    names.extend(map.into_iter().flat_map(|map| map.object(EXTRA)));
    named.extend(names.0);
    let further = match (list_of_config(config), map.and_then(|map| map.list(EXTRA))) {
        (None, None) => {
            let older = map.and_then(|map| map.list(ADDITIONAL)).unwrap_or_default();
            older.into_iter().chain(given_to_class).collect()
        }
        (listed, more) => listed.into_iter().chain(more).flatten().collect(),
    };
    SpecialTokens { named, further }
}

/// Adds the names that a class has of its own, and those that it is given as objects or by the map; what is under the
/// class's own names then, it also lists.
fn names_for_class(
    names: &mut Names,
    config: Option<&Ordered>,
    map: Option<&Ordered>,
    own: &[(&str, &str)],
) -> Vec<AddedToken> {
    let is_null = |name: &str| config.is_some_and(|file| file.fields.has(name) && file.fields.get(name).is_none());
    let defaults = own.iter().filter(|(name, _)| !is_null(name));
    names.extend(defaults.map(|(name, content)| ((*name).to_owned(), plain(content))));
    let marked = |value: &Value| value["__type"] == "AddedToken";
    let objects = config.into_iter().flat_map(Ordered::own_names).filter(|(_, value)| marked(value));
    names.extend(objects.chain(map.into_iter().flat_map(Ordered::own_names)).filter_map(token_of));
    own.iter().filter_map(|(name, _)| names.get(name)).map(|token| plain(&token.content)).collect()
}

fn plain(content: &str) -> AddedToken {
    AddedToken::from(content, true)
}

/// The tokens without a name that `tokenizer_config.json` lists: those under the older name where the newer one holds
/// nothing. None where it has no list at all.
fn list_of_config(config: Option<&Ordered>) -> Option<Vec<AddedToken>> {
    let config = config?;
    match config.fields.has(ADDITIONAL) && !config.fills(EXTRA) {
        true => config.list(ADDITIONAL).or_else(|| config.fields.get(ADDITIONAL).is_none().then(Vec::new)),
        false => config.list(EXTRA),
    }
}

/// Texts of the tokens that `added_tokens.json` may list without saying that they are special.
pub(crate) fn known(config: Option<&Ordered>, map: Option<&Ordered>) -> Vec<String> {
    let named = find(config, map, &[]).named.into_iter().filter(|(name, _)| NAMED.contains(&name.as_str()));
    let more = map.and_then(|map| map.list(EXTRA));
    let listed = list_of_config(config).into_iter().chain(more).flatten();
    named.map(|(_, token)| token).chain(listed).map(|token| token.content).collect()
}

/// Named tokens in the order in which they came; a later one of the same name takes the place of the earlier one.
#[derive(Default)]
struct Names(Vec<(String, AddedToken)>);

impl Names {
    fn extend(&mut self, tokens: impl IntoIterator<Item = (String, AddedToken)>) {
        let mut places: BTreeMap<String, usize> =
            self.0.iter().enumerate().map(|(place, (name, _))| (name.clone(), place)).collect();
        for (name, token) in tokens {
            let place = *places.entry(name.clone()).or_insert(self.0.len());
            match self.0.get_mut(place) {
                Some(held) => held.1 = token,
                None => self.0.push((name, token)),
            }
        }
    }

    fn get(&self, name: &str) -> Option<&AddedToken> {
        self.0.iter().find(|(own, _)| own == name).map(|(_, token)| token)
    }
}

fn token_of((name, value): (&str, &Value)) -> Option<(String, AddedToken)> {
    Some((name.to_owned(), added_token(value, true)?))
}

fn tokens(list: &[Value]) -> Vec<AddedToken> {
    list.iter().filter_map(|value| added_token(value, true)).collect()
}

/// A token as a string, or as an object that holds it under `content`.
pub(crate) fn added_token(value: &Value, special: bool) -> Option<AddedToken> {
    let content = value.as_str().or_else(|| value.get("content")?.as_str()).map(str::to_owned)?;
    let is = |name: &str| value.get(name).and_then(Value::as_bool);
    let special = special || is("special").unwrap_or(false);
    Some(AddedToken {
        content,
        single_word: is("single_word").unwrap_or(false),
        lstrip: is("lstrip").unwrap_or(false),
        rstrip: is("rstrip").unwrap_or(false),
        normalized: is("normalized").unwrap_or(!special),
        special,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    const CODE: [(&str, &str); 3] = [("unk_token", "<unk>"), ("prefix_token", "<PRE>"), ("fill_token", "<FILL>")];

    /// Names with texts, and further texts.
    fn found(config: &str, map: &str, defaults: &[(&str, &str)]) -> (Vec<String>, Vec<String>) {
        let file = |text: &str| {
            let fields = Fields::parse(Path::new("file.json"), text.as_bytes()).expect("JSON");
            Some(Ordered { fields, order: Order::of_text(text.as_bytes()) }).filter(|_| text != "{}")
        };
        let found = find(file(config).as_ref(), file(map).as_ref(), defaults);
        let named = found.named.into_iter().map(|(name, token)| format!("{name}={}", token.content));
        (named.collect(), found.further.into_iter().map(|token| token.content).collect())
    }

    #[test]
    fn names_come_in_the_order_of_the_file() {
        let config = r#"{"z_token": "Z", "extra_special_tokens": {"y_token": "Y", "b_token": "B"}, "a_token": "A",
            "pad_token": "P", "bos_token": "S", "count_token": 3,
            "object_token": {"__type": "AddedToken", "content": "O"}, "odd_token": {"content": "no"}}"#;
        let named =
            ["bos_token=S", "pad_token=P", "object_token=O", "z_token=Z", "a_token=A", "y_token=Y", "b_token=B"];
        assert_eq!(found(config, "{}", &[]), (named.map(String::from).to_vec(), vec![]));
        let map = r#"{"q_token": "Q", "a_token": "other", "bos_token": null}"#;
        let named = ["pad_token=P", "object_token=O", "q_token=Q", "a_token=A", "z_token=Z", "y_token=Y", "b_token=B"];
        assert_eq!(found(config, map, &[]).0, named, "names of the map come before, and texts of the other file last");
    }

    #[test]
    fn an_empty_list_hides_nothing() {
        let lists = |config: &str, map: &str| found(config, map, &[]).1;
        for empty in ["[]", "{}", "null"] {
            let config = format!(r#"{{"extra_special_tokens": {empty}, "additional_special_tokens": ["m", "l"]}}"#);
            assert_eq!(lists(&config, "{}"), ["m", "l"], "{empty}");
        }
        let both = r#"{"extra_special_tokens": ["x"], "additional_special_tokens": ["m"]}"#;
        assert_eq!(lists(both, "{}"), ["x"]);
        assert_eq!(lists(both, r#"{"extra_special_tokens": ["j"], "additional_special_tokens": ["k"]}"#), ["x", "j"]);
        assert_eq!(lists("{}", r#"{"additional_special_tokens": ["k"]}"#), ["k"]);
    }

    #[test]
    fn a_class_names_what_the_files_do_not() {
        let named = |config, map| found(config, map, &CODE);
        let (names, further) = named("{}", "{}");
        assert_eq!(names, ["unk_token=<unk>", "prefix_token=<PRE>", "fill_token=<FILL>"]);
        assert_eq!(further, ["<PRE>", "<FILL>"]);
        let config = r#"{"prefix_token": "P", "fill_token": null, "unk_token": null, "z_token": "Z",
            "additional_special_tokens": ["add"]}"#;
        let names = ["prefix_token=P", "z_token=Z"].map(String::from).to_vec();
        assert_eq!(named(config, "{}"), (names, vec!["add".to_owned()]));
        let (_, further) = named("{}", r#"{"prefix_token": "P", "additional_special_tokens": ["add"]}"#);
        assert_eq!(further, ["add", "P", "<FILL>"]);
    }
}
