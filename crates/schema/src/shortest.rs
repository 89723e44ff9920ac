//! Numbers of f32 in JSON, as people wrote them: 0.1 and not 0.10000000149011612.

use serde::Serializer;

/// The shortest decimal that is this f32.
pub fn shortest(value: f32) -> f64 {
    value.to_string().parse().unwrap_or_else(|_| f64::from(value))
}

/// Writes a number as its shortest decimal.
///
/// # Errors
/// Those of the serializer.
pub fn number<S: Serializer>(value: &f32, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(shortest(*value))
}

/// Writes a number that may be missing.
///
/// # Errors
/// Those of the serializer.
pub fn maybe<S: Serializer>(value: &Option<f32>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => number(value, serializer),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_are_as_they_were_written() {
        for text in ["0.1", "-0.2", "3", "1000000000", "0.000001"] {
            assert_eq!(shortest(text.parse().expect("a number")), text.parse::<f64>().expect("a number"));
        }
        assert!(shortest(f32::NAN).is_nan() && shortest(f32::INFINITY).is_infinite());
    }

    proptest! {
        #[test]
        fn no_number_becomes_another(bits in any::<u32>()) {
            let value = f32::from_bits(bits);
            prop_assert!(value.is_nan() || (shortest(value) as f32).to_bits() == bits);
        }
    }
}
