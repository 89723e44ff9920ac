//! Which hook points of a model a pattern like `blocks.*.hook_resid_post` means.
//!
//! `*` stands for any characters and `?` for one, within a component between dots, as in a shell between slashes:
//! `blocks.*.hook_*` means what lies directly on a block, `blocks.*.attn.hook_?` its queries, keys, values and `z`.

use crate::fault::{Classify, Fault};
use crate::hook_point::HookPoint;
use std::collections::BTreeSet;

/// A pattern that means no hook point of the model.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{pattern}` is no hook point of this model; it has {existing}")]
pub struct NoSuchHooks {
    /// What was asked for.
    pub pattern: String,
    /// What there is, in words.
    pub existing: String,
}

impl Classify for NoSuchHooks {
    fn fault(&self) -> Fault {
        Fault::BadInput
    }
}

/// The hook points that `pattern` means in a model of `n_layers` blocks, in the order of the pass. A name without
/// wildcards means itself.
///
/// ```
/// use untangle_schema::hook_pattern::expand;
/// let names: Vec<String> = expand("blocks.*.hook_resid_post", 2).unwrap().iter().map(ToString::to_string).collect();
/// assert_eq!(names, ["blocks.0.hook_resid_post", "blocks.1.hook_resid_post"]);
/// assert!(expand("blocks.2.hook_resid_post", 2).is_err());
/// ```
///
/// # Errors
/// It means none; the error says which there are.
pub fn expand(pattern: &str, n_layers: usize) -> Result<Vec<HookPoint>, NoSuchHooks> {
    expand_among(pattern, &HookPoint::all(n_layers))
}

/// The points among `existing` that `pattern` means, in their order.
///
/// # Errors
/// As [`expand`].
pub fn expand_among(pattern: &str, existing: &[HookPoint]) -> Result<Vec<HookPoint>, NoSuchHooks> {
    let meant: Vec<_> = existing.iter().copied().filter(|point| means(pattern, &point.to_string())).collect();
    if meant.is_empty() {
        return Err(NoSuchHooks { pattern: pattern.to_owned(), existing: in_words(existing) });
    }
    Ok(meant)
}

/// Whether every component of `name` fits its component of `pattern`.
fn means(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.split('.'), name.split('.'));
    pattern.clone().count() == name.clone().count() && pattern.zip(name).all(|(p, n)| fits(p.as_bytes(), n.as_bytes()))
}

/// Whether `text` fits a pattern of literals, `?` and `*`. Greedy, going back to the last `*` alone, which is enough:
/// what an earlier one could take over, the last one can take as well.
fn fits(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut last_star = None; // the place behind it, and how far its text goes
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                p += 1;
                last_star = Some((p, t));
            }
            Some(&c) if c == b'?' || c == text[t] => (p, t) = (p + 1, t + 1),
            _ => {
                let Some((behind, end)) = last_star else { return false };
                last_star = Some((behind, end + 1));
                (p, t) = (behind, end + 1);
            }
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

/// `hook_embed; ln_final.hook_scale; ln_final.hook_normalized; blocks.0 to blocks.5 with hook_resid_pre, ln1.hook_scale, …`.
fn in_words(existing: &[HookPoint]) -> String {
    let mut layers = BTreeSet::new();
    let mut sites = BTreeSet::new();
    let mut others = Vec::new();
    for point in existing {
        match point {
            HookPoint::Block { layer, site } => {
                layers.insert(*layer);
                sites.insert(*site);
            }
            other => others.push(other.to_string()),
        }
    }
    if let (Some(first), Some(last)) = (layers.first(), layers.last()) {
        let blocks = if first == last { format!("blocks.{first}") } else { format!("blocks.{first} to blocks.{last}") };
        let sites: Vec<_> = sites.into_iter().map(|site| site.name()).collect();
        others.push(format!("{blocks} with {}", sites.join(", ")));
    }
    others.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hook_point::Site;

    fn names(pattern: &str, n_layers: usize) -> Vec<String> {
        expand(pattern, n_layers).expect("it means some").iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_name_means_itself() {
        for point in HookPoint::all(12) {
            assert_eq!(expand(&point.to_string(), 12), Ok(vec![point]));
        }
    }

    #[test]
    fn a_star_stays_within_its_component() {
        assert_eq!(names("blocks.*.hook_resid_mid", 3).len(), 3);
        let on_block = ["resid_pre", "attn_out", "resid_mid", "mlp_in", "mlp_out", "resid_post"];
        assert_eq!(names("blocks.0.hook_*", 1), on_block.map(|site| format!("blocks.0.hook_{site}")));
        assert_eq!(names("blocks.1.*.hook_pre", 2), ["blocks.1.mlp.hook_pre"]);
        assert_eq!(names("hook_*", 2), ["hook_embed"]);
        assert_eq!(names("*", 2), ["hook_embed"]);
        assert_eq!(names("*.*", 2), ["ln_final.hook_scale", "ln_final.hook_normalized"]);
        assert_eq!(names("blocks.0.ln?.hook_scale", 1), ["blocks.0.ln1.hook_scale", "blocks.0.ln2.hook_scale"]);
        assert_eq!(names("blocks.1*.hook_resid_pre", 12), [1, 10, 11].map(|l| format!("blocks.{l}.hook_resid_pre")));
    }

    #[test]
    fn a_question_mark_is_one_character() {
        let expected = ["q", "k", "v", "z"].map(|c| format!("blocks.0.attn.hook_{c}"));
        assert_eq!(names("blocks.?.attn.hook_?", 1), expected);
        assert_eq!(names("blocks.?.hook_resid_pre", 12).len(), 10);
        assert_eq!(names("blocks.??.hook_resid_pre", 12).len(), 2);
    }

    #[test]
    fn stars_match_as_in_a_shell() {
        let cases = [
            ("*", "", true),
            ("", "", true),
            ("?", "", false),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbY", false),
            ("*ab", "aab", true),
            ("**a**", "bab", true),
            ("a*?", "a", false),
            ("hook_resid_p*t", "hook_resid_post", true),
        ];
        for (pattern, text, expected) in cases {
            assert_eq!(fits(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} on {text}");
        }
    }

    #[test]
    fn points_come_in_the_order_of_the_pass_and_only_existing_ones() {
        let points = expand("blocks.*.hook_*", 2).expect("twelve");
        assert!(points.is_sorted() && points.len() == 12);
        let without =
            HookPoint::all(2).into_iter().filter(|p| !matches!(p, HookPoint::Block { site: Site::ResidMid, .. }));
        let existing: Vec<_> = without.collect();
        assert_eq!(expand_among("blocks.*.hook_*", &existing).map(|points| points.len()), Ok(10));
        let error = expand_among("blocks.*.hook_resid_mid", &existing).expect_err("absent");
        assert!(!error.existing.contains("resid_mid"));
    }

    #[test]
    fn what_means_nothing_is_told_what_exists() {
        for pattern in ["", "blocks", "blocks.2.hook_resid_post", "blocks.*.hook_resid_pots", "blocks.*", "**.*.*.*.*"]
        {
            let error = expand(pattern, 2).expect_err("means nothing").to_string();
            assert!(error.starts_with(&format!("`{pattern}` is no hook point of this model; it has hook_embed; ")));
            assert!(error.contains("blocks.0 to blocks.1 with hook_resid_pre, ln1.hook_scale, "), "{error}");
        }
        assert!(expand("x", 1).expect_err("nothing").to_string().contains("; blocks.0 with "));
    }
}
