//! Which features, turned how, make most continuations be about a topic?
//!
//! A feature of a topic is set to its largest activation at every token, which is what the model itself would hold if the
//! topic held. Where that does not bring enough, adding to it and other strengths are tried of those that bring most. Beside the best the features can be taken out that
//! the model holds by itself and would not hold then (`rivals`), and others of the topic may join. All features of a
//! handle were found by their labels or by what they raise; none by its stories alone.

use super::candidates::Candidate;
use super::ladder::{ENOUGH, gain};
use super::rivals::rivals;
use super::topic::Topic;
use super::trials::Trials;
use crate::error::InterpretError;
use crate::steer::{Arm, Edit, Operator, Step, Studies};
use serde::Serialize;

/// How a feature is tried first, in multiples of its largest activation.
const FIRST: (Way, f32) = (Way::Set, 1.0);
/// How those that bring most stories then are tried as well.
const ALSO: [(Way, f32); 5] = [(Way::Set, 0.75), (Way::Set, 1.25), (Way::Add, 0.5), (Way::Add, 1.0), (Way::Add, 1.5)];
/// How many these are.
const LEADING: usize = 2;
/// How a feature joins others.
const JOINING: [(Way, f32); 2] = [(Way::Set, 0.5), (Way::Add, 0.1)];
/// Features of a topic turned up together at most.
const MOST: usize = 3;
/// A feature joins, and rivals are taken out, where that brings more than this share of the stories.
const BRINGS: f64 = 0.04;

/// What is done to a feature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// Its activation becomes the value.
    Set,
    /// The value is added to it.
    Add,
}

impl Way {
    fn by(self, value: f32) -> Operator {
        match self {
            Way::Set => Operator::Set(value),
            Way::Add => Operator::Add(value),
        }
    }
}

/// One of the features turned up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part<'a> {
    pub(super) candidate: &'a Candidate,
    pub(super) way: Way,
    /// In multiples of its largest activation.
    pub(super) strength: f32,
}

/// What is done to the model.
#[derive(Clone, Debug)]
pub(super) struct Handle<'a> {
    /// Their topic is one.
    pub(super) parts: Vec<Part<'a>>,
    /// Features that are taken out.
    pub(super) rivals: Vec<usize>,
}

impl<'a> Handle<'a> {
    fn alone(candidate: &'a Candidate, (way, strength): (Way, f32)) -> Self {
        Self { parts: vec![Part { candidate, way, strength }], rivals: Vec::new() }
    }

    /// What the features are about.
    pub(super) fn topic(&self) -> &'a Topic {
        &self.parts[0].candidate.topic
    }

    /// The change to the model, with every strength so many times as large.
    pub(super) fn steps(&self, times: f32) -> Vec<Step> {
        self.edits(times).into_iter().map(Step::from).collect()
    }

    /// The same as edits of features.
    pub(super) fn edits(&self, times: f32) -> Vec<Edit> {
        let turned = self.parts.iter().map(|part| {
            let value = times * part.strength * part.candidate.card.max_activation;
            Edit { feature: part.candidate.card.feature, operator: part.way.by(value) }
        });
        let out = self.rivals.iter().map(|feature| Edit { feature: *feature, operator: Operator::Set(0.0) });
        turned.chain(out).collect()
    }

    fn holds(&self, candidate: &Candidate) -> bool {
        self.parts.iter().any(|part| part.candidate.card.feature == candidate.card.feature)
    }

    /// This and one more feature, which is then no rival.
    fn joined_by(&self, candidate: &'a Candidate, (way, strength): (Way, f32)) -> Self {
        let parts = self.parts.iter().copied().chain([Part { candidate, way, strength }]).collect();
        let rivals = self.rivals.iter().copied().filter(|rival| *rival != candidate.card.feature).collect();
        Self { parts, rivals }
    }
}

/// How often handles are tried at most, to find the best among `candidates`: numbers that [`find`] tells of add up to it.
pub(super) fn most_tries(candidates: &[Candidate]) -> u64 {
    let mut groups: Vec<(&Topic, usize)> = Vec::new();
    for candidate in candidates {
        match groups.iter_mut().find(|(topic, _)| **topic == candidate.topic) {
            Some((_, size)) => *size += 1,
            None => groups.push((&candidate.topic, 1)),
        }
    }
    groups.into_iter().map(|(_, size)| tries_in_group(size)).sum()
}

/// The same for features of one topic: each alone, the leading ones in other ways, rivals once, and each of the others that
/// may have to join.
fn tries_in_group(size: usize) -> u64 {
    let joining: usize = (1..MOST.min(size)).map(|parts| size - parts).sum();
    (size + LEADING.min(size) + 1 + joining) as u64
}

/// The best handle; none where there is no candidate. Calls `tried` with numbers that add up to [`most_tries`].
pub(super) fn find<'a>(
    trials: &Trials<'_>,
    candidates: &'a [Candidate],
    tried: &mut dyn FnMut(u64) -> Result<(), InterpretError>,
) -> Result<Option<Handle<'a>>, InterpretError> {
    let mut best = None::<(Handle<'a>, Score)>;
    let mut rest: Vec<&Candidate> = candidates.iter().collect();
    while let Some(first) = rest.first() {
        let topic = &first.topic;
        let (group, others) = rest.into_iter().partition::<Vec<_>, _>(|candidate| candidate.topic == *topic);
        let found = trials.about(topic, |studies| Search { trials, studies, best: None }.run(&group, tried))?;
        if best.as_ref().is_none_or(|(_, most)| found.1 > *most) {
            best = Some(found);
        }
        rest = others;
    }
    Ok(best.map(|(handle, _)| handle))
}

/// How well a handle serves: the share of stories about the topic that it brings, and of equals the one that names it most often.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
struct Score {
    gain: f64,
    names: f64,
    /// Share of stories about the topic, the model's own included.
    share: f64,
}

impl Score {
    fn of(steered: &Arm, gain: f64) -> Self {
        Self { gain, names: steered.names.value(), share: steered.appears.value() }
    }

    /// Whether what would bring more need not be looked for.
    fn is_enough(self) -> bool {
        self.share >= ENOUGH
    }

    /// What a handle has to gain that is less simple than one of this score.
    fn and_more(self) -> Self {
        Self { gain: self.gain + BRINGS, names: 1.0, share: 1.0 }
    }
}

/// The search among features of one topic.
struct Search<'a, 's> {
    trials: &'s Trials<'s>,
    studies: &'s Studies<'s>,
    /// The best handle so far.
    best: Option<(Handle<'a>, Score)>,
}

impl<'a> Search<'a, '_> {
    fn run(
        mut self,
        group: &[&'a Candidate],
        tried: &mut dyn FnMut(u64) -> Result<(), InterpretError>,
    ) -> Result<(Handle<'a>, Score), InterpretError> {
        let mut left = tries_in_group(group.len());
        let mut tried = |tries: u64| {
            left -= tries;
            tried(tries).map(|()| left)
        };
        let mut leading = Vec::new();
        for candidate in group {
            leading.push((*candidate, self.attempt(Handle::alone(candidate, FIRST), Score::default())?));
            tried(1)?;
        }
        // What was found first stays first where nothing tells the two apart.
        leading.sort_by(|(_, a), (_, b)| b.total_cmp(a));
        let enough = self.best.as_ref().is_some_and(|(_, score)| score.is_enough());
        for (candidate, _) in leading.iter().take(if enough { 0 } else { LEADING }) {
            for way in ALSO {
                self.attempt(Handle::alone(candidate, way), Score::default())?;
            }
            tried(1)?;
        }
        let nothing = || (Handle::alone(group[0], FIRST), Score::default());
        let (mut handle, mut score) = self.best.take().unwrap_or_else(nothing);
        if !score.is_enough() {
            let others = rivals(self.trials, &handle.steps(1.0))?;
            let with = Handle { rivals: others, ..handle.clone() };
            self.attempt(with, score.and_more())?;
            (handle, score) = self.best.take().unwrap_or((handle, score));
            tried(1)?;
        }
        while !score.is_enough() && handle.parts.len() < MOST.min(group.len()) {
            for candidate in group.iter().filter(|candidate| !handle.holds(candidate)) {
                for way in JOINING {
                    self.attempt(handle.joined_by(candidate, way), score.and_more())?;
                }
                tried(1)?;
            }
            match self.best.take() {
                Some(better) => (handle, score) = better,
                None => break,
            }
        }
        let left = tried(0)?;
        tried(left)?;
        Ok((handle, score))
    }

    /// Keeps a handle that serves better than `least` and than the best one; returns what it gains, nothing where what is
    /// written are no stories any more.
    fn attempt(&mut self, handle: Handle<'a>, least: Score) -> Result<f64, InterpretError> {
        let least = self.best.as_ref().map_or(least, |(_, most)| *most);
        let (steps, baseline) = (handle.steps(1.0), self.studies.baseline());
        // What is not about the topic often enough need not be read for whether it is a story.
        let quick = self.studies.steered(&steps, false)?;
        let at_most = gain(&quick, baseline).unwrap_or(0.0);
        if Score::of(&quick, at_most) <= least {
            return Ok(at_most);
        }
        let steered = self.studies.steered(&steps, true)?;
        let gain = gain(&steered, baseline);
        if let Some(gain) = gain {
            self.best = Some((handle, Score::of(&steered, gain)));
        }
        Ok(gain.unwrap_or(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_stories_are_better_and_of_equals_the_name() {
        let score = |gain, names| Score { gain, names, share: gain };
        assert!(score(0.5, 0.0) > score(0.4, 1.0) && score(0.5, 0.3) > score(0.5, 0.2));
        assert!(score(0.53, 1.0) < score(0.5, 0.0).and_more() && score(0.55, 0.0) > score(0.5, 0.9).and_more());
    }

    #[test]
    fn tries_add_up() {
        // Three alone, two in other ways, rivals, two and one that may join.
        assert_eq!((tries_in_group(3), tries_in_group(1)), (9, 3));
    }
}
