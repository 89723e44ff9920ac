//! How are several stores put side by side, so that a row of all is the same token?

use crate::error::StoreError;
use crate::pairing::Pairing;
use crate::set::ActivationSet;
use untangle_schema::ModelIdentity;

impl ActivationSet {
    /// The store with the columns of others beside its own: rows are those of this store, and only those that have pairs in
    /// all others are served or scanned. Columns of the others follow its own.
    ///
    /// # Errors
    /// Where rows of a store cannot be paired with this one's.
    pub fn with_beside(mut self, others: Vec<ActivationSet>) -> Result<Self, StoreError> {
        for other in others {
            let pairing = Pairing::of([self.own(), other.own()], || [self.name(), other.name()])?;
            self = self.and_beside(other, pairing);
        }
        Ok(self)
    }

    /// All columns of this name, of the store and of those beside it, in order.
    pub fn columns_named(&self, name: &str) -> Vec<usize> {
        (0..self.columns().len()).filter(|column| self.columns()[*column].name == name).collect()
    }

    /// The model whose activations a column holds; none of matrices from elsewhere.
    pub fn model_of(&self, column: usize) -> Option<&ModelIdentity> {
        match self.beside_of(column) {
            Some((beside, local)) => beside.set.model_of(local),
            None => self.manifest().map(|manifest| &manifest.model),
        }
    }

    /// Of every store beside this one, the rows without a pair: of this one, and of that one.
    pub fn unpaired(&self) -> Vec<[u64; 2]> {
        self.beside().iter().map(|beside| beside.pairing.unpaired()).collect()
    }

    /// Whether a row has pairs in all stores beside this one.
    pub(crate) fn is_paired(&self, row: u64) -> bool {
        self.beside().iter().all(|beside| beside.pairing.is_paired(row))
    }
}
