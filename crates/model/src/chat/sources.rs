//! Which of the templates in a tokenizer's configuration is meant?
//!
//! There may be one, or several by name, as a list of objects with `name` and `template` or as one object. As in
//! transformers, `tool_use` is taken where a conversation has tools, else `default`.

use serde_json::Value;

/// The texts of the templates that are used.
#[derive(Debug)]
pub(crate) struct Sources {
    /// None where there are several, and none of this name.
    pub(crate) default: Option<String>,
    pub(crate) with_tools: Option<String>,
}

impl Sources {
    /// Of the only one.
    pub(crate) fn of_one(source: String) -> Self {
        Sources { default: Some(source), with_tools: None }
    }

    /// Of what `chat_template` is; none where that is neither a template nor several.
    pub(crate) fn of(value: &Value) -> Option<Self> {
        let named = |name: &str| {
            let template = match value {
                Value::Array(list) => list.iter().rfind(|one| one["name"] == name)?.get("template")?,
                other => other.get(name)?,
            };
            template.as_str().map(str::to_owned)
        };
        match value {
            Value::String(source) => Some(Self::of_one(source.clone())),
            Value::Array(_) | Value::Object(_) => {
                Some(Sources { default: named("default"), with_tools: named("tool_use") })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn templates_are_found_by_name_in_both_forms() {
        let of = |value: Value| Sources::of(&value).map(|found| (found.default, found.with_tools));
        let both = Some((Some("d".to_owned()), Some("t".to_owned())));
        let entry = |name: &str, template: &str| json!({"name": name, "template": template});
        assert_eq!(of(json!([entry("default", "d"), entry("rag", "r"), entry("tool_use", "t")])), both);
        assert_eq!(of(json!({"tool_use": "t", "default": "d"})), both);
        assert_eq!(of(json!("d")), Some((Some("d".to_owned()), None)));
        assert_eq!(of(json!([entry("rag", "r")])), Some((None, None)));
        assert_eq!(of(json!(3)), None);
    }
}
