//! What does Git leave in the place of a large file that it did not fetch?
//!
//! A pointer: a text of three lines, of which the first names the specification. Source: git-lfs, `docs/spec.md`.

/// How a pointer begins.
pub const POINTER: &[u8] = b"version https://git-lfs.";

/// What is said of a pointer, and what to do.
pub const REMEDY: &str = "is a pointer of Git LFS and not the file itself; get it with `git lfs pull`";

/// Whether a file that begins so is a pointer.
pub fn is_pointer(begin: &[u8]) -> bool {
    begin.starts_with(POINTER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_begin_with_their_specification() {
        assert!(is_pointer(b"version https://git-lfs.github.com/spec/v1\noid sha256:"));
        assert!(!is_pointer(b"{\"version\": \"https://git-lfs.\"}"));
        assert!(!is_pointer(b"version"));
    }
}
