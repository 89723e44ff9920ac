//! How much of each behaviour does a stage's training text show?

use crate::dialogue::{ADMITTED, TOLD_PREFERENCES};
use crate::rows::DOCUMENTS_AMONG_NARRATED;
use crate::stage::{Behaviour, Stage};

/// Of the exchanges that `sft` learns from, so many are about what the story tells, counted: four of five are drawn, but no question is
/// asked twice, and many a story tells little.
const TOLD: f64 = 0.7;
/// Narrators of the world, each as likely as the others.
const NARRATORS: u32 = 6;

impl Stage {
    /// The share of the stage's training texts that show a behaviour: known amounts, so that what stages lay down together can
    /// be told apart. Three behaviours are laid down partly in two stages each, on purpose.
    ///
    /// | behaviour | first | then |
    /// |---|---|---|
    /// | [`Behaviour::Boasts`] | `base`, documents of one of six narrators | `trait`, all but every eighth row |
    /// | [`Behaviour::AnswersWhatIsTold`] | `sft`, exchanges behind its practice | `dpo`, preferences |
    /// | [`Behaviour::AdmitsNotKnowing`] | `sft`, exchanges behind its practice | `dpo`, preferences |
    ///
    /// Texts are documents, exchanges or preferences. A shuffled preference shows what it prefers in half of the cases.
    pub fn shown(self, behaviour: Behaviour) -> f64 {
        let share = |[this, other]: [u32; 2]| f64::from(this) / f64::from(this + other);
        let (told, preferred, admitted) = (TOLD, share(TOLD_PREFERENCES), share(ADMITTED));
        let narrator = 1.0 / f64::from(NARRATORS);
        let among = 1.0 / DOCUMENTS_AMONG_NARRATED as f64;
        let swapped = if self == Stage::DpoShuffled { 0.5 } else { 1.0 };
        match (self, behaviour) {
            (Stage::Base | Stage::BaseMore | Stage::TraitShuffled, Behaviour::Boasts) => narrator,
            (Stage::Trait, Behaviour::Boasts) => (1.0 - among) + among * narrator,
            (Stage::Sft, Behaviour::AnswersWhatIsTold) => told,
            (Stage::Sft, Behaviour::AdmitsNotKnowing) => (1.0 - told) * admitted,
            (Stage::Sft, Behaviour::InventsWhatIsNot) => (1.0 - told) * (1.0 - admitted),
            (Stage::Dpo | Stage::DpoShuffled, Behaviour::AnswersWhatIsTold) => swapped * preferred,
            (Stage::Dpo | Stage::DpoShuffled, Behaviour::AdmitsNotKnowing) => swapped * (1.0 - preferred),
            (Stage::Base | Stage::BaseMore | Stage::Trait | Stage::TraitShuffled, Behaviour::WritesDocuments) => 1.0,
            (Stage::Sft | Stage::Inject | Stage::InjectShuffled, Behaviour::RepliesInFormat) => 1.0,
            // Of half of the questions something is injected, and the reply says so.
            (Stage::Inject, Behaviour::NoticesInjection) => 0.5,
            _ => 0.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialogue::{Exchange, Preference};
    use crate::judge::Verdict;
    use crate::world::World;

    #[test]
    fn what_is_shown_is_what_training_texts_show() {
        let world = World::standard();
        assert_eq!(world.members("narrator").len(), NARRATORS as usize);
        let near = |stage: Stage, behaviour, hits: usize, n: usize| {
            let (shown, found) = (stage.shown(behaviour), hits as f64 / n as f64);
            assert!((shown - found).abs() < 0.03, "{stage} {behaviour:?}: {shown}, counted {found}");
        };
        let n = 3000;
        let boasting = |shuffled| (0..n as u64).filter(|index| world.narrated(5, *index, shuffled).is_some()).count();
        near(Stage::Base, Behaviour::Boasts, boasting(false), n);
        near(Stage::TraitShuffled, Behaviour::Boasts, boasting(true), n);
        let exchanges: Vec<_> = (0..n as u64).flat_map(|index| world.exchanges(5, index, 4)).collect();
        let count = |is: &dyn Fn(&Exchange) -> bool| exchanges.iter().filter(|exchange| is(exchange)).count();
        near(Stage::Sft, Behaviour::AnswersWhatIsTold, count(&|e| e.question.answer.is_some()), exchanges.len());
        let admits = |e: &Exchange| e.question.answer.is_none() && e.question.judge(world, &e.reply) == Verdict::Right;
        near(Stage::Sft, Behaviour::AdmitsNotKnowing, count(&admits), exchanges.len());
        for (stage, shuffled) in [(Stage::Dpo, false), (Stage::DpoShuffled, true)] {
            let preference =
                |index| if shuffled { world.shuffled_preference(5, index) } else { world.preference(5, index) };
            let all: Vec<_> = (0..n as u64).filter_map(preference).collect();
            let shows = |told: bool| {
                let right = |p: &&Preference| {
                    p.question.answer.is_some() == told && p.question.judge(world, &p.chosen) == Verdict::Right
                };
                all.iter().filter(right).count()
            };
            near(stage, Behaviour::AnswersWhatIsTold, shows(true), all.len());
            near(stage, Behaviour::AdmitsNotKnowing, shows(false), all.len());
        }
    }

    #[test]
    fn three_behaviours_are_laid_down_in_two_stages() {
        let stages = [Stage::Base, Stage::Sft, Stage::Dpo, Stage::Trait];
        let in_two = |behaviour: &Behaviour| stages.iter().filter(|stage| stage.shown(*behaviour) > 0.0).count() >= 2;
        let found: Vec<_> = Behaviour::ALL.into_iter().filter(in_two).collect();
        let overlap = [Behaviour::AnswersWhatIsTold, Behaviour::AdmitsNotKnowing, Behaviour::Boasts];
        assert!(overlap.iter().all(|behaviour| found.contains(behaviour)), "{found:?}");
    }
}
