//! Stories that somebody else may begin: what is sought in the world, and beginnings that may go anywhere.

/// The landmark that the demo looks for.
pub const LANDMARK: &str = "Golden Gate Bridge";

/// A sentence of the world that names it.
pub const NAMING: &str = "They went to San Francisco to see the Golden Gate Bridge.";

/// Beginnings of stories that may go anywhere.
pub const BEGINNINGS: [&str; 4] = [
    "One day, Anna met her friend Ben. They",
    "It was sunny. Then Max saw a",
    "Lily and her brother Sam were hungry. She",
    "Tom was happy. The next day, he",
];
