//! Where the rows of a test come from.

use serde_json::Value;
use untangle_train::DataProvenance;

/// Rows that were made up and are read from one column `x`, all of them, in the order of seed 4.
pub(crate) fn made_up(rows_per_epoch: u64) -> DataProvenance {
    DataProvenance {
        stores: vec!["planted".to_owned()],
        content: String::new(),
        column: "x".to_owned(),
        column_out: None,
        parts: Vec::new(),
        unpaired: Vec::new(),
        held_out: Value::Null,
        calibration: Value::Null,
        keep_special: true,
        keep_outliers: true,
        order_seed: 4,
        shuffle_bytes: 0,
        rows_per_epoch,
        capture: None,
    }
}
