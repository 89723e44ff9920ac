//! Where do some features fire, in a pass that changes nothing?

use super::reading::{Active, Reader};
use crate::error::InterpretError;
use crate::intervene::{Intervene, Intervention, Rewrite, Scope, on_host};
use tch::Tensor;
use untangle_sae::{Codes, Sae};

/// Notes where some features fire, and changes nothing.
#[derive(Debug)]
pub(super) struct Watch<'a> {
    sae: &'a Sae,
    features: &'a [usize],
    codes: Codes,
    /// Of every row, those that fire.
    pub(super) taken: Vec<Vec<Active>>,
}

impl<'a> Watch<'a> {
    pub(super) fn new(sae: &'a Sae, features: &'a [usize]) -> Self {
        Watch { sae, features, codes: Codes::new(), taken: Vec::new() }
    }
}

impl Intervene for Watch<'_> {
    fn intervene(&mut self, rows: &Tensor, read: Option<&Tensor>) -> Result<Option<Tensor>, InterpretError> {
        on_host(self, rows, read)
    }
}

impl Rewrite for Watch<'_> {
    fn rewrite(&mut self, rows: &mut [f32], read: Option<&[f32]>) -> Result<bool, InterpretError> {
        self.sae.encode(read.unwrap_or(rows), &mut self.codes)?;
        for row in 0..self.codes.n_rows() {
            let active = |&feature: &usize| Active { feature, activation: self.codes.activation(row, feature) };
            self.taken.push(self.features.iter().map(active).filter(|active| active.activation != 0.0).collect());
        }
        Ok(false)
    }
}

impl Reader<'_> {
    /// Of every token of a text, the ones among `features` that fire on it; none on special tokens. One pass.
    ///
    /// # Errors
    /// When there are no tokens, or they do not fit the model.
    pub fn firings(&self, tokens: &[u32], features: &[usize]) -> Result<Vec<Vec<Active>>, InterpretError> {
        if tokens.is_empty() {
            return Err(InterpretError::NothingToRead);
        }
        let watch = Watch::new(self.sae, features);
        let mut watch = Intervention::of_dictionary(self.model, self.sae, Scope::All, watch)?;
        let ids: Vec<i64> = tokens.iter().map(|id| i64::from(*id)).collect();
        let batch = Tensor::from_slice(&ids).to_device(self.model.device()).unsqueeze(0);
        tch::no_grad(|| self.model.forward(&batch, &mut watch))?;
        let mut taken = watch.intervention().taken.iter();
        let of = |id: &u32| if self.is_special(*id) { Vec::new() } else { taken.next().cloned().unwrap_or_default() };
        Ok(tokens.iter().map(of).collect())
    }

    /// A text as the model reads it, as far as its context goes: its tokens, and what each stands for.
    ///
    /// # Errors
    /// When the model has no tokenizer, or the text is none that it can read.
    pub fn tokens(&self, text: &str) -> Result<(Vec<u32>, Vec<String>), InterpretError> {
        let tokenizer = self.model.tokenizer()?;
        let mut ids = tokenizer.encode_with_bos(text, untangle_schema::BosPolicy::Auto)?;
        ids.truncate(self.model.max_context());
        let texts = ids.iter().map(|id| tokenizer.token_text(*id)).collect();
        Ok((ids, texts))
    }
}
