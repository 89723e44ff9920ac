//! Which tags of a template are transformers' own?
//!
//! `{% generation %}…{% endgeneration %}` marks what the model itself says, for masks of a loss. It changes nothing in
//! the text, so it becomes a condition that always holds.

/// The template without these tags.
pub(super) fn without_generation(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(at) = rest.find("{%") {
        let (before, tag) = rest.split_at(at + 2);
        out.push_str(before);
        let Some(end) = tag.find("%}") else {
            rest = tag;
            break;
        };
        let inside = &tag[..end];
        let word = inside.trim_matches(|c: char| c.is_whitespace() || c == '-' || c == '+');
        match word {
            "generation" => out.push_str(&inside.replacen(word, "if true", 1)),
            "endgeneration" => out.push_str(&inside.replacen(word, "endif", 1)),
            _ => out.push_str(inside),
        }
        rest = &tag[end..];
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::without_generation;

    #[test]
    fn marks_become_conditions_and_the_rest_stays() {
        let source = "a {%- generation -%} b {% endgeneration %}{% set generation = 1 %}{{ generation }} {% x";
        let expected = "a {%- if true -%} b {% endif %}{% set generation = 1 %}{{ generation }} {% x";
        assert_eq!(without_generation(source), expected);
    }
}
