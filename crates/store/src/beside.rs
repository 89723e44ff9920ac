//! How are several stores read side by side, row by row the same token?

use crate::element::Elements;
use crate::error::StoreError;
use crate::pairing::Pairing;
use crate::set::ActivationSet;
use std::ops::Range;
use untangle_schema::ModelIdentity;

/// A store that is read beside another one.
#[derive(Debug)]
pub(crate) struct Beside {
    pub(crate) set: ActivationSet,
    pub(crate) pairing: Pairing,
    /// Number that its first column has in the other store.
    pub(crate) first_column: usize,
}

impl Beside {
    /// Reads the rows that are paired with `rows`; what has no pair stays as it is in `out`.
    pub(crate) fn read_elements(
        &self,
        column: usize,
        rows: Range<u64>,
        out: &mut Elements,
        at: usize,
    ) -> Result<(), StoreError> {
        let d = self.set.columns()[column].d;
        self.pairing.pairs(rows.clone()).try_for_each(|(own, other)| {
            let first = at + (own.start - rows.start) as usize * d;
            self.set.read_elements(column, other..other + (own.end - own.start), out, first)
        })
    }

    /// The norms of the rows that are paired with `rows`, zero where there is no pair.
    pub(crate) fn norms(&self, column: usize, rows: Range<u64>) -> Result<Vec<f32>, StoreError> {
        let mut norms = vec![0f32; (rows.end - rows.start) as usize];
        for (own, other) in self.pairing.pairs(rows.clone()) {
            let found = self.set.norms(column, other..other + (own.end - own.start))?;
            let first = (own.start - rows.start) as usize;
            norms[first..first + found.len()].copy_from_slice(&found);
        }
        Ok(norms)
    }

    /// Announces that these columns of the rows that are paired with `rows` will be read soon.
    pub(crate) fn announce(&self, columns: &[usize], rows: Range<u64>) {
        self.pairing
            .pairs(rows)
            .for_each(|(own, other)| self.set.announce(other..other + (own.end - own.start), columns));
    }

    /// The row that is paired with `row`.
    pub(crate) fn pair_of(&self, row: u64) -> u64 {
        self.pairing.pairs(row..row + 1).next().map_or(row, |(_, other)| other)
    }
}

impl ActivationSet {
    /// The store with the columns of others beside its own: rows are those of this store, and only those that have pairs in
    /// all others are served or scanned. Columns of the others follow its own.
    ///
    /// # Errors
    /// Where rows of a store cannot be paired with this one's.
    pub fn with_beside(mut self, others: Vec<ActivationSet>) -> Result<Self, StoreError> {
        for other in others {
            let pairing = Pairing::of(&self, &other)?;
            let first_column = self.columns().len();
            self.add_columns(&other);
            self.beside.push(Beside { set: other, pairing, first_column });
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
        self.beside.iter().map(|beside| beside.pairing.unpaired()).collect()
    }

    /// Whether a row has pairs in all stores beside this one.
    pub(crate) fn is_paired(&self, row: u64) -> bool {
        self.beside.iter().all(|beside| beside.pairing.is_paired(row))
    }

    /// The store beside this one that has a column, and the number of the column there; none of its own.
    pub(crate) fn beside_of(&self, column: usize) -> Option<(&Beside, usize)> {
        let beside = self.beside.iter().rev().find(|beside| beside.first_column <= column)?;
        Some((beside, column - beside.first_column))
    }
}
