//! How many tokens does a text have, up to a number that is enough?

use super::{Corpus, Layout, Place, is_separated};
use crate::error::CaptureError;
use untangle_model::Tokenizer;
use untangle_schema::Observer;

/// Bytes of a token at most, for all that separators matter: a larger file has enough tokens whatever its separators.
const BYTES_OF_A_TOKEN: u64 = 64;

impl Corpus {
    /// Tokens of the text without those that contexts begin with; counting ends where there are `enough`. Files of a hub are
    /// fetched as far as reading comes to them.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn tokens_up_to(
        &self,
        enough: u64,
        tokenizer: &Tokenizer,
        observer: &dyn Observer,
    ) -> Result<u64, CaptureError> {
        let mut tokens = 0;
        for file in self.files() {
            let path = file.bring(observer)?;
            let is_small = file.bytes() <= enough.saturating_mul(BYTES_OF_A_TOKEN);
            let separated = is_small
                && file.form().layout == Layout::Plain
                && is_separated(self.source(file, &path, observer)?, &|| false)?.unwrap_or(false);
            let mut documents = self.documents(file, &path, separated, Place::default(), observer)?;
            while let Some(document) = documents.next()? {
                tokens += tokenizer.encode_with_ranges(&document.text)?.len() as u64;
                if tokens >= enough {
                    return Ok(tokens);
                }
            }
        }
        Ok(tokens)
    }
}
