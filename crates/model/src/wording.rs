//! What messages say of numbers and of what lies beside a file.

use std::path::Path;

/// A number of bytes as people write it.
pub(crate) fn gibibytes(bytes: u64) -> String {
    format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30))
}

/// What helps where weights are in the form of before safetensors, which is a program to run and is never read.
pub(crate) fn pickled(dir: &Path) -> &'static str {
    let has = |name: &str| dir.join(name).exists();
    match has("pytorch_model.bin") || has("pytorch_model.bin.index.json") {
        true => {
            "; its pytorch_model.bin is not read: `AutoModelForCausalLM.from_pretrained(DIR).save_pretrained(DIR)` of \
             transformers writes safetensors"
        }
        false => "",
    }
}
