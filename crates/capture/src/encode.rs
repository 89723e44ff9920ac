//! How is text turned into token ids on all processors?

use crate::corpus::Document;
use crate::pack::Token;
use untangle_model::{ModelError, Tokenizer};

/// The tokens of every document, in order.
///
/// # Errors
/// The first document's that cannot be encoded.
pub(crate) fn encode(tokenizer: &Tokenizer, documents: &[Document]) -> Result<Vec<Vec<Token>>, ModelError> {
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(documents.len());
    if workers < 2 {
        return documents.iter().map(|document| tokens(tokenizer, document)).collect();
    }
    // Neighbours go to different workers: documents of one place tend to be alike in length.
    let share = |worker: usize| documents.iter().skip(worker).step_by(workers);
    let mut shares: Vec<std::vec::IntoIter<_>> = std::thread::scope(|scope| {
        let encode = |worker| move || share(worker).map(|document| tokens(tokenizer, document)).collect::<Vec<_>>();
        let threads: Vec<_> = (0..workers).map(|worker| scope.spawn(encode(worker))).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)).into_iter())
            .collect()
    });
    (0..documents.len()).filter_map(|index| shares[index % workers].next()).collect()
}

fn tokens(tokenizer: &Tokenizer, document: &Document) -> Result<Vec<Token>, ModelError> {
    let encoded = tokenizer.encode_with_ranges(&document.text)?;
    // Documents are shorter than 4 GiB by far.
    let token = |(id, range): (u32, std::ops::Range<usize>)| Token { id, offset: range.start as u32 };
    Ok(encoded.into_iter().map(token).collect())
}
