//! Which features, turned up together, make most continuations be about a topic?
//!
//! Where a model is about to say a thing and where it has just said it are different directions, and a dictionary may
//! split either. So features are added one at a time, each time the one that brings most stories, for as long as one
//! brings any. All features of a handle were found by their labels or by what they raise; none by its stories alone.

use super::candidates::Candidate;
use super::ladder::gain;
use super::topic::Topic;
use super::trials::Trials;
use crate::error::InterpretError;
use crate::steer::{Edit, Operator, Step, Studies};

/// Strength at which every feature is tried, in multiples of its largest activation.
const ALONE: f32 = 1.0;
/// Strengths at which those that bring most stories then are tried as well.
const ALSO: [f32; 2] = [0.7, 1.3];
/// How many these are.
const LEADING: usize = 3;
/// Strengths at which a feature joins others: those that say where a thing of the kind comes next need little.
const JOINING: [f32; 3] = [0.03, 0.1, 0.25];
/// Features turned up together at most.
const MOST: usize = 3;
/// A feature joins where it brings more than this share of the stories.
const BRINGS: f64 = 0.04;

/// Features turned up together.
#[derive(Clone, Debug)]
pub(super) struct Handle<'a> {
    /// Every feature with what is added of it at strength 1, in multiples of its largest activation. Their topic is one.
    pub(super) parts: Vec<(&'a Candidate, f32)>,
}

impl<'a> Handle<'a> {
    /// What the features are about.
    pub(super) fn topic(&self) -> &'a Topic {
        &self.parts[0].0.topic
    }

    /// The change to the model.
    pub(super) fn steps(&self, strength: f32) -> Vec<Step> {
        self.edits(strength).into_iter().map(Step::from).collect()
    }

    /// The features and what is added of each.
    pub(super) fn edits(&self, strength: f32) -> Vec<Edit> {
        let edit = |(candidate, share): &(&Candidate, f32)| Edit {
            feature: candidate.card.feature,
            operator: Operator::Add(strength * share * candidate.card.max_activation),
        };
        self.parts.iter().map(edit).collect()
    }

    fn holds(&self, candidate: &Candidate) -> bool {
        self.parts.iter().any(|(part, _)| part.card.feature == candidate.card.feature)
    }

    /// This and one more.
    fn joined_by(&self, candidate: &'a Candidate, share: f32) -> Self {
        Handle { parts: self.parts.iter().copied().chain([(candidate, share)]).collect() }
    }
}

/// How often a feature is tried at most, alone or beside others, to find the best handle among `candidates`.
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

/// The same for features of one topic: alone, and once for each of the others that may have to be joined.
fn tries_in_group(size: usize) -> u64 {
    (0..MOST.min(size)).map(|parts| (size - parts) as u64).sum()
}

/// The best handle; none where there is no candidate. Calls `tried` with numbers that add up to [`most_tries`].
pub(super) fn find<'a>(
    trials: &Trials<'_>,
    candidates: &'a [Candidate],
    tried: &mut dyn FnMut(u64) -> Result<(), InterpretError>,
) -> Result<Option<Handle<'a>>, InterpretError> {
    let mut best = None::<(Handle<'a>, f64)>;
    let mut rest: Vec<&Candidate> = candidates.iter().collect();
    while let Some(first) = rest.first() {
        let topic = &first.topic;
        let (group, others) = rest.into_iter().partition::<Vec<_>, _>(|candidate| candidate.topic == *topic);
        let found = trials.about(topic, |studies| Search { studies, best: None }.run(&group, tried))?;
        if best.as_ref().is_none_or(|(_, most)| found.1 > *most) {
            best = Some(found);
        }
        rest = others;
    }
    Ok(best.map(|(handle, _)| handle))
}

/// The search among features of one topic.
struct Search<'a, 's> {
    studies: &'s Studies<'s>,
    /// The best handle so far and its gain.
    best: Option<(Handle<'a>, f64)>,
}

impl<'a> Search<'a, '_> {
    fn run(
        mut self,
        group: &[&'a Candidate],
        tried: &mut dyn FnMut(u64) -> Result<(), InterpretError>,
    ) -> Result<(Handle<'a>, f64), InterpretError> {
        let mut left = tries_in_group(group.len());
        let mut tried = |tries: u64| {
            left -= tries;
            tried(tries).map(|()| left)
        };
        let alone = |candidate, share| Handle { parts: vec![(candidate, share)] };
        let mut leading = Vec::new();
        for candidate in group {
            leading.push((*candidate, self.attempt(alone(*candidate, ALONE), 0.0)?));
            tried(1)?;
        }
        // What was found first stays first where nothing tells the two apart.
        leading.sort_by(|(_, a), (_, b)| b.total_cmp(a));
        for (candidate, _) in leading.iter().take(LEADING) {
            for share in ALSO {
                self.attempt(alone(candidate, share), 0.0)?;
            }
        }
        let (mut handle, mut before) = self.best.take().unwrap_or((alone(group[0], ALSO[0]), 0.0));
        while handle.parts.len() < MOST.min(group.len()) {
            for candidate in group.iter().filter(|candidate| !handle.holds(candidate)) {
                for share in JOINING {
                    // Where a little spoils the stories, more does so too.
                    if self.attempt(handle.joined_by(candidate, share), before + BRINGS)? <= 0.0 {
                        break;
                    }
                }
                tried(1)?;
            }
            match self.best.take() {
                Some(better) => (handle, before) = better,
                None => break,
            }
        }
        let left = tried(0)?;
        tried(left)?;
        Ok((handle, before))
    }

    /// Keeps a handle that gains more than `least` and than the best one; returns what it gains, nothing where what is
    /// written are no stories any more.
    fn attempt(&mut self, handle: Handle<'a>, least: f64) -> Result<f64, InterpretError> {
        let least = self.best.as_ref().map_or(least, |(_, most)| *most);
        let (steps, baseline) = (handle.steps(1.0), self.studies.baseline());
        // What is not about the topic often enough need not be read for whether it is a story.
        let at_most = gain(&self.studies.steered(&steps, false)?, baseline).unwrap_or(0.0);
        if at_most <= least {
            return Ok(at_most);
        }
        let gain = gain(&self.studies.steered(&steps, true)?, baseline);
        if let Some(gain) = gain {
            self.best = Some((handle, gain));
        }
        Ok(gain.unwrap_or(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tries_by_hand() {
        // Twelve alone, then eleven beside the best, then ten beside two.
        assert_eq!([0, 1, 2, 12].map(tries_in_group), [0, 1, 3, 33]);
    }
}
