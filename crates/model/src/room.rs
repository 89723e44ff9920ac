//! Is there memory for a model's weights? Said before they are read, from what their files declare.

use crate::checkpoint::Reading;
use crate::error::ModelError;
use crate::wording::gibibytes;
use safetensors::tensor::Metadata;
use std::path::Path;
use tch::Kind;

/// What weights need while they are read: all of them, and the largest once more as it is in its file.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Room {
    numbers: u64,
    largest: u64,
}

impl Room {
    /// Counts the tensors of a file.
    pub(crate) fn add(&mut self, metadata: &Metadata, reading: &Reading<'_>) {
        for (name, info) in metadata.tensors() {
            let bytes = info.data_offsets.1.saturating_sub(info.data_offsets.0) as u64;
            if !(reading.ignored)(&name) {
                let numbers = info.shape.iter().fold(1u64, |product, size| product.saturating_mul(*size as u64));
                self.numbers = self.numbers.saturating_add(numbers);
            }
            self.largest = self.largest.max(bytes);
        }
    }

    fn bytes(&self, kind: Kind) -> u64 {
        self.numbers.saturating_mul(kind.elt_size_in_bytes() as u64).saturating_add(self.largest)
    }

    /// Refuses weights for which there is not enough of what is free.
    ///
    /// # Errors
    /// [`ModelError::TooLarge`]
    pub(crate) fn check(&self, path: &Path, kind: Kind, free: Option<u64>) -> Result<(), ModelError> {
        let needed = self.bytes(kind);
        let Some(free) = free.filter(|free| needed > *free) else { return Ok(()) };
        let narrow = self.bytes(Kind::BFloat16);
        let smaller = "a smaller model, or a machine with more memory, is needed";
        let remedy = match kind {
            Kind::Float if narrow <= free => format!("--dtype bf16 takes {}", gibibytes(narrow)),
            Kind::Float => format!("with --dtype bf16 it still takes {}; {smaller}", gibibytes(narrow)),
            _ => smaller.to_owned(),
        };
        let kind = if kind == Kind::Float { "f32" } else { "bf16" };
        Err(ModelError::TooLarge { path: path.to_owned(), needed, free, kind, remedy })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::Checkpoint;
    use std::fs::File;
    use std::io::Write;
    use untangle_schema::memory;

    const PATH: &str = "model.safetensors";

    #[test]
    fn the_remedy_is_one_that_helps() {
        let room = Room { numbers: 6 << 30, largest: 1 << 30 };
        let said = |kind, free: u64| room.check(Path::new(PATH), kind, Some(free << 30)).map_err(|e| e.to_string());
        assert_eq!(said(Kind::Float, 25), Ok(()));
        let f32 = "model.safetensors: the model takes 25.0 GiB in f32 and";
        assert_eq!(said(Kind::Float, 16), Err(format!("{f32} 16.0 GiB can be had; --dtype bf16 takes 13.0 GiB")));
        assert!(said(Kind::Float, 12).is_err_and(|said| said.contains("still takes 13.0 GiB; a smaller model")));
        assert!(
            said(Kind::BFloat16, 12).is_err_and(|said| said.contains("13.0 GiB in bf16") && !said.contains("--dtype"))
        );
        assert!(room.check(Path::new(PATH), Kind::Float, None).is_ok(), "where nobody knows what is free");
    }

    #[test]
    fn a_file_that_is_too_large_is_refused_by_its_header() {
        let Some(free) = memory::available() else { return };
        let folder = tempfile::tempdir().expect("a folder");
        // In f32 twice as large as in its file, of which nothing is stored.
        let numbers = free / 2 + (1 << 20);
        let header = format!(r#"{{"w":{{"dtype":"F16","shape":[{numbers}],"data_offsets":[0,{}]}}}}"#, 2 * numbers);
        let mut file = File::create(folder.path().join(PATH)).expect("created");
        file.write_all(&(header.len() as u64).to_le_bytes()).expect("written");
        file.write_all(header.as_bytes()).expect("written");
        file.set_len(8 + header.len() as u64 + 2 * numbers).expect("a file with a hole");
        let reading = Reading { kind: Kind::Float, ignored: &|_| false };
        let error = Checkpoint::from_dir(folder.path(), &reading).expect_err("too large");
        assert!(matches!(error, ModelError::TooLarge { needed, .. } if needed > 2 * free), "{error}");
    }
}
