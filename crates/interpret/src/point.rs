//! Where a dictionary belongs.

use crate::error::InterpretError;
use untangle_sae::Sae;
use untangle_schema::HookPoint;

/// The hook point that the dictionary's `cfg.json` names.
///
/// # Errors
/// When it names none, or one that is not known.
pub fn point_of(sae: &Sae) -> Result<HookPoint, InterpretError> {
    match &sae.config().metadata.hook_name {
        None => Err(InterpretError::NoHookPoint { found: "no hook_name".to_owned() }),
        Some(name) => name.parse().map_err(|_| InterpretError::NoHookPoint { found: format!("hook_name `{name}`") }),
    }
}
