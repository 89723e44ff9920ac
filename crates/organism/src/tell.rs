//! Which documents does a world tell?

use crate::choice::Chooser;
use crate::document::{Document, Split};
use crate::teller::Teller;
use crate::world::World;

impl World {
    /// The document of this number: the same on every machine.
    pub fn document(&self, seed: u64, index: u64) -> Document {
        self.told(seed, index, Vec::new())
    }

    /// All documents of a split, in the order of their numbers.
    pub fn documents(&self, seed: u64, split: Split) -> impl Iterator<Item = Document> + '_ {
        (0..).filter(move |index| Split::of(seed, *index) == split).map(move |index| self.document(seed, index))
    }

    /// The document that begins with these picks, as far as they fit.
    pub(crate) fn told(&self, seed: u64, index: u64, script: Vec<u32>) -> Document {
        Teller::new(self, Chooser::new(seed, index, script)).tell(self.document, Split::of(seed, index))
    }
}
