//! The rows that a dictionary is judged on: one column of a store, with what a transcoder predicts of it, split as its training was.

use crate::error::InterpretError;
use crate::label::facts::{Facts, Place, Reader};
use crate::point::{column_of, columns_of, model_name, predicted_column_of};
use crate::progress::Progress;
use crate::vocabulary::Vocabulary;
use std::ops::Range;
use std::sync::Arc;
use untangle_model::LanguageModel;
use untangle_sae::{Activation, Codes, Crosscoder, Sae};
use untangle_schema::capture::row_flags;
use untangle_schema::{Observer, Unit};
use untangle_store::{ActivationSet, HeldOut, Part, RowBlock, Scan, Split};

/// Rows that are read and encoded together.
const BLOCK_ROWS: usize = 4096;
/// Rows that are looked at together when a part is counted.
const COUNTED_ROWS: usize = 1 << 16;
/// Rows of a store without documents that count as one.
const ROWS_PER_DOCUMENT: u64 = 256;

/// What a dictionary reads of a store, with the column that a transcoder predicts, and the rule that says which of its rows were held out
/// of training.
#[derive(Clone, Debug)]
pub struct Corpus {
    store: Arc<ActivationSet>,
    /// The columns that are read, of a crosscoder one for each part.
    columns: Vec<usize>,
    predicted: Option<usize>,
    held_out: HeldOut,
    of_any_model: bool,
}

/// One row, encoded, and what can be said of it.
#[derive(Debug)]
pub(crate) struct Row<'a> {
    pub(crate) row: u64,
    pub(crate) document: u32,
    pub(crate) position: u32,
    pub(crate) facts: &'a Facts,
    pub(crate) reader: &'a Reader<'a>,
    pub(crate) features: &'a [u32],
    pub(crate) activations: &'a [f32],
}

/// The document of a row; of stores without documents, a stretch of rows.
pub(crate) fn document_of(store: &ActivationSet, block: &RowBlock, at: usize) -> u64 {
    match store.n_documents() {
        Some(_) => u64::from(block.documents[at]),
        None => block.rows[at] / ROWS_PER_DOCUMENT,
    }
}

/// Number of rows of `part` of `store`, special tokens included. Reads the documents' numbers, not the activations.
pub(crate) fn rows_in(store: &ActivationSet, held_out: &HeldOut, part: Part) -> Result<u64, InterpretError> {
    let n_rows = store.n_rows();
    if part == Part::All {
        return Ok(n_rows);
    }
    let split = Split::new(held_out, store)?;
    let (mut held_out, mut block) = (0, RowBlock::default());
    for from in (0..n_rows).step_by(COUNTED_ROWS) {
        store.read_rows(from..(from + COUNTED_ROWS as u64).min(n_rows), &[], &mut block)?;
        let rows = block.rows.iter().zip(&block.documents);
        held_out += rows.filter(|(row, document)| split.is_held_out(**row, **document)).count() as u64;
    }
    Ok(if part == Part::HeldOut { held_out } else { n_rows - held_out })
}

/// The features that fire, as they are described: where an activation has a sign, a feature that is negative is another thing than
/// one that is positive, and is left out.
fn described(sae: &Sae, rows: &[f32], codes: &mut Codes) -> Result<(), InterpretError> {
    sae.encode(rows, codes)?;
    if matches!(sae.parts().activation, Activation::AbsTopK { .. }) {
        codes.keep_positive();
    }
    Ok(())
}

/// Columns of so many rows, each of its own width, as rows of all of them side by side.
pub fn side_by_side(columns: &[Vec<f32>], n_rows: usize, rows: &mut Vec<f32>) {
    rows.clear();
    for at in 0..n_rows {
        for column in columns {
            let d = column.len() / n_rows;
            rows.extend_from_slice(&column[at * d..(at + 1) * d]);
        }
    }
}

impl Corpus {
    /// The column of `store` that `sae` belongs to, see [`column_of`]. `held_out` is the rule that its training
    /// recorded; [`HeldOut::None`] for a store that it never saw.
    ///
    /// # Errors
    /// When there is no such column, or its width is not the dictionary's; the same of what a transcoder predicts.
    pub fn new(store: Arc<ActivationSet>, sae: &Sae, held_out: HeldOut) -> Result<Self, InterpretError> {
        let columns = vec![column_of(sae, &store, None)?];
        let predicted = predicted_column_of(sae, &store)?;
        Ok(Self { store, columns, predicted, held_out, of_any_model: sae.is_of_any_model() })
    }

    /// The columns of `store` that the parts of `crosscoder` belong to, see [`columns_of`].
    ///
    /// # Errors
    /// As there.
    pub fn of_crosscoder(
        store: Arc<ActivationSet>,
        crosscoder: &Crosscoder,
        held_out: HeldOut,
    ) -> Result<Self, InterpretError> {
        let columns = columns_of(crosscoder, &store)?;
        Ok(Self { store, columns, predicted: None, held_out, of_any_model: false })
    }

    /// The store.
    pub fn store(&self) -> &Arc<ActivationSet> {
        &self.store
    }

    /// Indices of the columns that are read.
    pub fn columns(&self) -> &[usize] {
        &self.columns
    }

    /// The rows of a block as the dictionary reads them: those of its column, of a crosscoder those of all parts side by side.
    fn rows_of<'a>(&self, block: &'a RowBlock, joined: &'a mut Vec<f32>) -> &'a [f32] {
        if self.columns.len() < 2 {
            return &block.columns[0];
        }
        let parts = &block.columns[..self.columns.len()];
        side_by_side(parts, block.len(), joined);
        joined
    }

    /// Reads rows of the store with their tokens and encodes them.
    pub(crate) fn encode(
        &self,
        sae: &Sae,
        rows: Range<u64>,
        block: &mut RowBlock,
        codes: &mut Codes,
    ) -> Result<(), InterpretError> {
        self.store.read_rows(rows, &self.columns, block)?;
        described(sae, self.rows_of(block, &mut Vec::new()), codes)
    }

    /// What is held out.
    pub fn held_out(&self) -> &HeldOut {
        &self.held_out
    }

    /// Refuses a store without tokens.
    pub(crate) fn require_tokens(&self) -> Result<(), InterpretError> {
        let tokens = self.store.manifest().map(|_| ());
        tokens.ok_or_else(|| InterpretError::NoTokens { store: self.store.name() })
    }

    /// Whether the store was captured from `model`: other weights would give its rows another meaning. For a dictionary that is
    /// used on any model, the same tokens are enough.
    ///
    /// # Errors
    /// When it was captured from another one.
    pub fn check_model(&self, model: &LanguageModel) -> Result<(), InterpretError> {
        let (Some(manifest), given) = (self.store.manifest(), model.identity()) else { return Ok(()) };
        let captured = &manifest.model;
        let same_tokens = captured.tokenizer_sha256 == given.tokenizer_sha256;
        if same_tokens && (captured.weights_sha256 == given.weights_sha256 || self.of_any_model) {
            return Ok(());
        }
        Err(InterpretError::OtherModel {
            expected: model_name(&captured.name, &captured.weights_sha256),
            found: model_name(&given.name, &given.weights_sha256),
        })
    }

    /// Whether the store has the tokens of `model`, whichever model its rows are of.
    pub(crate) fn check_tokenizer(&self, model: &LanguageModel) -> Result<(), InterpretError> {
        let (Some(manifest), given) = (self.store.manifest(), model.identity()) else { return Ok(()) };
        let captured = &manifest.model;
        if captured.tokenizer_sha256 == given.tokenizer_sha256 {
            return Ok(());
        }
        Err(InterpretError::OtherModel {
            expected: model_name(&captured.name, &captured.weights_sha256),
            found: model_name(&given.name, &given.weights_sha256),
        })
    }

    /// Reads `part` block by block: every block with its codes. The first column is what is read, the last what is
    /// reconstructed. While one block is visited the next is read and encoded.
    pub(crate) fn each_block(
        &self,
        part: Part,
        sae: &Sae,
        task: &str,
        observer: &dyn Observer,
        mut visit: impl FnMut(&RowBlock, &Codes) -> Result<(), InterpretError> + Send,
    ) -> Result<(), InterpretError> {
        let mut progress = Progress::start(observer, task, Unit::Rows, rows_in(&self.store, &self.held_out, part)?);
        let columns: Vec<usize> = self.columns.iter().copied().chain(self.predicted).collect();
        let mut scan = Scan::new(Arc::clone(&self.store), &self.held_out, part, &columns, BLOCK_ROWS)?;
        let mut joined = Vec::new();
        let mut read = |block: &mut RowBlock, codes: &mut Codes| {
            let is_there = scan.next_block(block)?;
            if is_there {
                described(sae, self.rows_of(block, &mut joined), codes)?;
            }
            Ok::<_, InterpretError>(is_there)
        };
        let (mut here, mut next) = <((RowBlock, Codes), (RowBlock, Codes))>::default();
        let mut is_there = read(&mut here.0, &mut here.1)?;
        while is_there {
            let (more, visited) = rayon::join(|| read(&mut next.0, &mut next.1), || visit(&here.0, &here.1));
            visited?;
            progress.advance(here.0.len() as u64)?;
            is_there = more?;
            std::mem::swap(&mut here, &mut next);
        }
        progress.finish();
        Ok(())
    }

    /// Reads `part` row by row, special tokens left out: every row with its facts and its active features. Says how
    /// many rows there were.
    pub(crate) fn each_row(
        &self,
        part: Part,
        sae: &Sae,
        vocabulary: &Vocabulary,
        task: &str,
        observer: &dyn Observer,
        mut visit: impl FnMut(&Row<'_>) + Send,
    ) -> Result<u64, InterpretError> {
        let (mut reader, mut rows) = (Reader::new(vocabulary), 0);
        self.each_block(part, sae, task, observer, |block, codes| {
            rows += self.rows_in_block(block, codes, &mut reader, &mut visit)?;
            Ok(())
        })?;
        Ok(rows)
    }

    /// The rows of one block, special tokens left out, as [`Self::each_row`] has them. `reader` has read the blocks before.
    pub(crate) fn rows_in_block(
        &self,
        block: &RowBlock,
        codes: &Codes,
        reader: &mut Reader<'_>,
        visit: &mut impl FnMut(&Row<'_>),
    ) -> Result<u64, InterpretError> {
        self.check_tokens(block, reader.vocabulary())?;
        let (mut facts, mut rows) = (Facts::default(), 0);
        for at in 0..block.len() {
            let next = self.next_token(block, at)?;
            let (row, token, position) = (block.rows[at], block.tokens[at], block.positions[at]);
            reader.read(Place { row, token, next, position }, &mut facts);
            if block.flags[at] & row_flags::EXCLUDED != 0 {
                continue;
            }
            let (features, activations) = codes.row(at);
            let document = block.documents[at];
            visit(&Row { row, document, position, facts: &facts, reader, features, activations });
            rows += 1;
        }
        Ok(rows)
    }

    /// The token after row `at` of the block, in the same context. At the end of a block, and where the part has a gap,
    /// it is looked up, so that blocks leave no trace in the result.
    fn next_token(&self, block: &RowBlock, at: usize) -> Result<Option<u32>, InterpretError> {
        let (row, position) = (block.rows[at] + 1, block.positions[at] + 1);
        if block.rows.get(at + 1) == Some(&row) {
            return Ok((block.positions[at + 1] == position).then(|| block.tokens[at + 1]));
        }
        if row >= self.store.n_rows() {
            return Ok(None);
        }
        let mut next = RowBlock::default();
        self.store.read_rows(row..row + 1, &[], &mut next)?;
        Ok((next.positions[0] == position).then(|| next.tokens[0]))
    }

    fn check_tokens(&self, block: &RowBlock, vocabulary: &Vocabulary) -> Result<(), InterpretError> {
        if vocabulary.is_empty() {
            return Ok(());
        }
        match block.tokens.iter().position(|token| *token as usize >= vocabulary.len()) {
            None => Ok(()),
            Some(at) => Err(InterpretError::TokenOutside {
                store: self.store.name(),
                row: block.rows[at],
                token: block.tokens[at],
                vocabulary: vocabulary.len(),
            }),
        }
    }
}
