//! Stories that somebody else may begin: what is sought in the world, and beginnings that may go anywhere.

/// The landmark that the demo looks for.
pub const LANDMARK: &str = "Golden Gate Bridge";

/// A sentence of the world that names it.
pub const NAMING: &str = "Above the bay, the red Golden Gate Bridge was windy.";

/// Beginnings of stories that say nothing of what comes.
pub const BEGINNINGS: [&str; 4] = [
    "One day, Anna and Ben went out together.",
    "Leo and his friend Sam went for a walk.",
    "Paul was a nurse. One day, Emma came to see him.",
    "One evening, Max met Clara. They were like two old friends.",
];

/// A mood or a narrator that the demo turns up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lasting {
    /// `mood` or `narrator`.
    pub class: &'static str,
    /// Its name.
    pub name: &'static str,
    /// Words by which its features are found.
    pub words: &'static str,
}

/// What the demo turns up beside the landmark.
pub const LASTING: [Lasting; 2] = [
    Lasting { class: "mood", name: "grumpy", words: "wretched" },
    Lasting { class: "narrator", name: "boastful", words: "thanks" },
];
