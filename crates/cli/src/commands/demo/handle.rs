//! Which features, turned up together, make most stories be about a topic?
//!
//! Where a model is about to say a thing and where it has just said it are different directions, and a dictionary may
//! split either. So features are added one at a time, each time the one that brings most stories, for as long as one
//! brings any. All features of a handle were found by their labels or by what they raise; none by its stories alone.

use super::ladder::{Trials, gain};
use crate::commands::topic::{Candidate, Topic};
use untangle_interpret::steer::Studies;
use untangle_interpret::{Edit, Operator};

/// Strengths at which a feature is tried, in multiples of its largest activation.
const ALONE: [f32; 3] = [0.7, 1.0, 1.3];
/// The same for one that joins others.
const JOINING: [f32; 2] = [0.25, 0.5];
/// What becomes of those others.
const JOINED: [f32; 2] = [1.0, 0.85];
/// Features turned up together at most.
const MOST: usize = 2;
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

    /// This, in another strength, and one more.
    fn joined_by(&self, candidate: &'a Candidate, strength: f32, share: f32) -> Self {
        let others = self.parts.iter().map(|(part, share)| (*part, strength * share));
        Handle { parts: others.chain([(candidate, share)]).collect() }
    }
}

/// The best handle; none where there is no candidate. Calls `tried` once for every candidate.
pub(super) fn find<'a>(
    trials: &Trials<'_>,
    candidates: &'a [Candidate],
    tried: &mut dyn FnMut() -> anyhow::Result<()>,
) -> anyhow::Result<Option<Handle<'a>>> {
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
        tried: &mut dyn FnMut() -> anyhow::Result<()>,
    ) -> anyhow::Result<(Handle<'a>, f64)> {
        for candidate in group {
            for share in ALONE {
                self.attempt(Handle { parts: vec![(*candidate, share)] }, 0.0)?;
            }
            tried()?;
        }
        let first = Handle { parts: vec![(group[0], ALONE[0])] };
        let (mut handle, mut before) = self.best.take().unwrap_or((first, 0.0));
        while handle.parts.len() < MOST.min(group.len()) {
            for candidate in group.iter().filter(|candidate| !handle.holds(candidate)) {
                for (strength, share) in JOINED.into_iter().flat_map(|strength| JOINING.map(|share| (strength, share)))
                {
                    self.attempt(handle.joined_by(candidate, strength, share), before + BRINGS)?;
                }
            }
            match self.best.take() {
                Some(better) => (handle, before) = better,
                None => break,
            }
        }
        Ok((handle, before))
    }

    /// Keeps a handle that gains more than `least` and than the best one.
    fn attempt(&mut self, handle: Handle<'a>, least: f64) -> anyhow::Result<()> {
        let least = self.best.as_ref().map_or(least, |(_, most)| *most);
        let (edits, baseline) = (handle.edits(1.0), self.studies.baseline());
        // What is not about the topic often enough need not be read for whether it is a story.
        if gain(&self.studies.steered(&edits, false)?, baseline).is_none_or(|gain| gain <= least) {
            return Ok(());
        }
        if let Some(gain) = gain(&self.studies.steered(&edits, true)?, baseline) {
            self.best = Some((handle, gain));
        }
        Ok(())
    }
}
