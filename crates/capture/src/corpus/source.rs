//! What is a reader of any form of text given?

use super::form::Packing;
use std::path::Path;
use untangle_model::ChatTemplate;
use untangle_schema::Observer;

/// A file under reading.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) path: &'a Path,
    /// What messages call it.
    pub(super) label: &'a str,
    pub(super) packing: Packing,
    /// Its size.
    pub(super) bytes: u64,
    pub(super) field: &'a str,
    pub(super) strict: bool,
    pub(super) chat: Option<&'a ChatTemplate>,
    /// Is asked during long work on one record.
    pub(super) observer: &'a dyn Observer,
}
