//! How do bytes become text where they are not UTF-8?

/// Text, with what was not UTF-8 in its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Decoded {
    /// The text; U+FFFD stands for what is none.
    pub(super) text: String,
    /// Byte sequences that were replaced.
    pub(super) replaced: u64,
}

/// Text from bytes.
pub(super) fn decode(bytes: Vec<u8>) -> Decoded {
    match String::from_utf8(bytes) {
        Ok(text) => Decoded { text, replaced: 0 },
        Err(error) => {
            let bytes = error.as_bytes();
            Decoded { text: String::from_utf8_lossy(bytes).into_owned(), replaced: faults(bytes) }
        }
    }
}

/// Number of byte sequences that are not UTF-8.
pub(super) fn faults(bytes: &[u8]) -> u64 {
    bytes.utf8_chunks().filter(|chunk| !chunk.invalid().is_empty()).count() as u64
}

/// Where the first byte is that is not UTF-8.
pub(super) fn first_fault(bytes: &[u8]) -> Option<usize> {
    std::str::from_utf8(bytes).err().map(|error| error.valid_up_to())
}
