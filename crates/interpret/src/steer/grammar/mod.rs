//! One grammar of interventions, for the command line and for whatever else says them.
//!
//! ```text
//! intervention = WHAT [ ":" OPERATION ] [ " at " POSITIONS ] [ " when " CONDITION ]
//! WHAT         = [ DICTIONARY "#" ] ( NUMBER | LABEL ) | "token " 'TEXT' " in " HOOK
//!              | "vector " 'FILE' [ " in " HOOK ]
//! OPERATION    = "add=" AMOUNT | "set=" AMOUNT | "mul=" FACTOR | "min=" AMOUNT | "max=" AMOUNT | "ablate"
//!              | "add-direction=" AMOUNT | "project-out" | "cap=" AMOUNT | "swap=" WHAT
//! AMOUNT       = NUMBER            units of activation, or of length along a direction
//!              | NUMBER "x"        multiples of the feature's largest activation, of the vector's own length
//!              | NUMBER "n"        multiples of the norm of the activation that is changed
//! POSITIONS    = [ "not " ] SPAN { "," [ "not " ] SPAN }
//! SPAN         = ( "all" | "prompt" | "generated" ) [ "[" ( PLACE | [ PLACE ] ".." [ PLACE ] | 'TEXT' ) "]" ]
//! CONDITION    = COMPARISON { " and " COMPARISON }
//! COMPARISON   = [ "along " ] WHAT ( ">" | ">=" | "<" | "<=" ) AMOUNT
//! ```
//!
//! Names and texts may stand in `'…'`, and must where they hold a sign of the grammar; what stands in `"…"`, as the words of
//! many labels do, is text as well. What is printed of an intervention is read again as the same one.

mod amount;
mod condition;
mod positions;
mod scan;
mod spec;
#[cfg(test)]
mod tests;
mod what;

pub use amount::{Amount, Unit};
pub use condition::{Comparison, Condition, Sign};
pub use positions::{Positions, Span, Which};
pub use spec::{Operation, Spec, swept};
pub use what::{Selector, What};
