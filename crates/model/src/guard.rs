//! What if a library panics over a damaged file?
//!
//! Some libraries index what damaged files promise, so that some damage ends in a panic of their own. It is caught and
//! becomes the error that it is; [`panic_is_caught`] tells the program's panic hook that nothing is to be reported.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Whether a panic on this thread is caught and told as an error.
pub fn panic_is_caught() -> bool {
    GUARDED.get()
}

/// What `work` gives; none where it panics. What it works on must not be used after that.
pub fn guarded<T>(work: impl FnOnce() -> T) -> Option<T> {
    let outer = GUARDED.replace(true);
    let result = catch_unwind(AssertUnwindSafe(work));
    GUARDED.set(outer);
    result.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_inside_is_an_answer_and_one_outside_is_not_expected() {
        assert_eq!(guarded(|| panic_is_caught().then_some(1)), Some(Some(1)));
        assert_eq!(guarded(|| std::panic::resume_unwind(Box::new("damaged")) as i32), None);
        assert_eq!(guarded(|| guarded(|| ()).is_some() && panic_is_caught()), Some(true), "an inner guard ends alone");
        assert!(!panic_is_caught());
    }
}
