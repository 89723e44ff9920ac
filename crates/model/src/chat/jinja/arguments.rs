//! Which value does each parameter of a function get?

use super::budget::{Failure, Result};
use super::value::Value;

/// What a function, a filter or a test was handed.
#[derive(Clone, Debug, Default)]
pub(super) struct Given {
    pub(super) positional: Vec<Value>,
    pub(super) named: Vec<(String, Value)>,
}

impl Given {
    /// The values of these parameters; the first `required` must be there. A name that begins with `/` cannot be given
    /// by name.
    pub(super) fn bind<const N: usize>(
        &self,
        what: &str,
        names: [&str; N],
        required: usize,
    ) -> Result<[Option<Value>; N]> {
        let mut bound = [const { None }; N];
        if self.positional.len() > N {
            let given = self.positional.len();
            return Err(Failure::new(format!("{what}() takes at most {N} arguments ({given} given)")));
        }
        for (slot, value) in bound.iter_mut().zip(&self.positional) {
            *slot = Some(value.clone());
        }
        for (name, value) in &self.named {
            match names.iter().position(|known| known == name) {
                Some(at) if bound[at].is_some() => {
                    return Err(Failure::new(format!("{what}() got multiple values for argument '{name}'")));
                }
                Some(at) => bound[at] = Some(value.clone()),
                None => {
                    return Err(Failure::new(format!("{what}() got an unexpected keyword argument '{name}'")));
                }
            }
        }
        match bound[..required].iter().position(Option::is_none) {
            Some(at) => {
                let name = names[at].trim_start_matches('/');
                Err(Failure::new(format!("{what}() missing required argument: '{name}'")))
            }
            None => Ok(bound),
        }
    }

    /// That nothing was handed over.
    pub(super) fn none(&self, what: &str) -> Result<()> {
        self.bind::<0>(what, [], 0).map(|_| ())
    }
}

/// A whole number, or `default` where nothing was given.
pub(super) fn int(value: Option<&Value>, default: i128) -> Result<i128> {
    match value {
        None => Ok(default),
        Some(value) => value
            .as_int()
            .ok_or_else(|| Failure::new(format!("'{}' object cannot be interpreted as an integer", value.type_name()))),
    }
}

/// A number of characters or elements; none where it is negative.
pub(super) fn size(value: Option<&Value>, default: usize) -> Result<usize> {
    Ok(usize::try_from(int(value, default as i128)?.max(0)).unwrap_or(usize::MAX))
}

/// A text.
pub(super) fn text<'a>(value: &'a Value, what: &str) -> Result<&'a str> {
    match value.as_text() {
        Some(text) => Ok(text),
        None => Err(Failure::new(format!("{what} must be str, not {}", value.type_name()))),
    }
}

/// A text, where one was given that is not None.
pub(super) fn optional_text<'a>(value: Option<&'a Value>, what: &str) -> Result<Option<&'a str>> {
    match value {
        None | Some(Value::None) => Ok(None),
        Some(value) => text(value, what).map(Some),
    }
}

/// Whether a value that was given holds.
pub(super) fn truth(value: Option<&Value>, default: bool) -> bool {
    value.map_or(default, Value::is_true)
}
