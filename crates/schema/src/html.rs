//! What do all pages have in common: how text stands for itself in HTML, and which colours there are?

/// The colours of every page, light and dark, as variables of a style sheet: ink, soft ink, paper, cards, lines, and eight
/// colours of data that people tell apart who see colours differently.
pub const LOOK: &str = include_str!("look.css");

/// Text between tags and in quoted attributes, with reserved characters as Python's `markupsafe` writes them.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\'' => out.push_str("&#39;"),
            '"' => out.push_str("&#34;"),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_text_becomes_markup() {
        assert_eq!(escaped("<b>\"R&D\"</b> 'x'"), "&lt;b&gt;&#34;R&amp;D&#34;&lt;/b&gt; &#39;x&#39;");
    }
}
