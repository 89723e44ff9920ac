//! Where in a file does reading stand, after a document?

use serde::{Deserialize, Serialize};

/// Where the reading of a file goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    /// Byte of the text, uncompressed, or row of a table.
    pub(crate) at: u64,
    /// Lines of JSON before it.
    pub(crate) line: u64,
    /// Bytes of the text of the record there that were read; of a plain text, 1 inside a line.
    pub(crate) within: u64,
    /// Bytes of the file that were read by then, for the display of progress.
    pub(crate) read: u64,
}

/// A document, and where the file goes on after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Document {
    pub(crate) text: String,
    /// Byte sequences that were not UTF-8.
    pub(crate) replaced: u64,
    /// Where the next document is looked for.
    pub(crate) end: Place,
}
