//! Which words does a text have, as they are compared?

use crate::template::Node;

/// Every word that a template of text and choices can give, in lower case.
pub(crate) fn words_of(nodes: &[Node]) -> Vec<String> {
    let mut words = vec![String::new()];
    for node in nodes {
        let tails = match node {
            Node::Text(text) => vec![text.to_lowercase()],
            Node::Choice(options) => options.iter().flat_map(|option| words_of(&option.body)).collect(),
            _ => continue,
        };
        words = words.iter().flat_map(|head| tails.iter().map(move |tail| format!("{head}{tail}"))).collect();
    }
    words
}

/// Words in lower case, with spaces on either side of each.
pub(crate) fn padded(text: &str) -> String {
    format!(" {} ", text.to_lowercase().replace(|c: char| !c.is_alphanumeric(), " "))
}
