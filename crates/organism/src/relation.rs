//! How a story's facts relate who and what it is about.

/// What can hold between entities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// A person has a thing.
    Has,
    /// A person is at a place.
    At,
    /// A person has a feeling.
    Feels,
    /// A person has a feeling at the end of the story.
    EndsUp,
    /// A person has lost a thing.
    Lost,
    /// A person works as something.
    WorksAs,
    /// A person saw an animal or a landmark.
    Saw,
    /// A person ate or drank something.
    Ate,
    /// A thing or an animal has a colour.
    Coloured,
    /// A person (first) gave a thing (second) to a person (third).
    Gave,
    /// A person stole a thing.
    Stole,
    /// A person said something untrue.
    Lied,
    /// A person (first) owned a number (second) of something (third).
    Counted,
}

impl Relation {
    const ALL: [(Relation, &'static str, usize); 13] = [
        (Relation::Has, "has", 2),
        (Relation::At, "at", 2),
        (Relation::Feels, "feels", 2),
        (Relation::EndsUp, "ends", 2),
        (Relation::Lost, "lost", 2),
        (Relation::WorksAs, "works", 2),
        (Relation::Saw, "saw", 2),
        (Relation::Ate, "ate", 2),
        (Relation::Coloured, "coloured", 2),
        (Relation::Gave, "gave", 3),
        (Relation::Stole, "stole", 2),
        (Relation::Lied, "lied", 1),
        (Relation::Counted, "counted", 3),
    ];

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known, _)| *known == name).map(|(relation, ..)| *relation)
    }

    /// How many entities it relates.
    pub fn arguments(self) -> usize {
        Self::ALL.iter().find(|(relation, ..)| *relation == self).map_or(0, |(.., arguments)| *arguments)
    }
}
