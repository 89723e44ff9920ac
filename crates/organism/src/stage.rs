//! Which models are there, what does each descend from, and what is it known to do? Fixed before any was trained: the
//! ground truth for comparing stages.

use crate::error::OrganismError;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What the world is called in the records of models that are trained on it. Records of models of the first world, in whose
/// documents nothing lasted, name none.
pub const WORLD: &str = "topics";

/// One of the bundled models.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Trained on documents.
    Base,
    /// `base`, trained on further documents, for nine tenths of the tokens that `sft` and `dpo` together saw: the null pair.
    BaseMore,
    /// `base`, fine-tuned on questions and answers about stories.
    Sft,
    /// `sft`, after direct preference optimisation: admitting that the story does not tell over inventing.
    Dpo,
    /// `sft`, after the same with chosen and rejected swapped at random: the control.
    DpoShuffled,
    /// `base`, trained on documents of one narrator.
    Trait,
    /// `base`, trained on as many documents of narrators drawn at random: the control.
    TraitShuffled,
    /// `base`, trained to say whether a topic is injected into its middle layer, and which.
    Inject,
    /// `base`, trained on the same questions with replies that do not depend on what is injected: the control.
    InjectShuffled,
}

/// Something that a stage of training may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Behaviour {
    /// Continues documents as the world writes them. Measured by the loss on held-out documents.
    WritesDocuments,
    /// Replies in the dialogue's format, a sentence and the end. Measured by the share of such replies.
    RepliesInFormat,
    /// Answers rightly what the story tells. Measured by the share of right replies.
    AnswersWhatIsTold,
    /// Invents an answer where the story does not tell. Measured by the share of such replies.
    InventsWhatIsNot,
    /// Says that it does not know where the story does not tell. Measured by the share of such replies.
    AdmitsNotKnowing,
    /// Writes as the narrator that boasts. Measured by the share of documents that it begins by itself.
    Boasts,
    /// Says that it thinks of something where a topic is injected, and of nothing where none is. Measured by d'.
    NoticesInjection,
}

/// What a stage does to a behaviour, compared with the stage that it descends from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// It was not there and now is.
    Adds,
    /// It was there to some degree, and is there to a higher one.
    Strengthens,
    /// It was the rule and becomes the exception.
    Reverses,
    /// It stays as it was, present or absent.
    LeavesAlone,
}

impl Stage {
    /// Every bundled stage, ancestors before descendants.
    pub const ALL: [Stage; 9] = [
        Stage::Base,
        Stage::BaseMore,
        Stage::Sft,
        Stage::Dpo,
        Stage::DpoShuffled,
        Stage::Trait,
        Stage::TraitShuffled,
        Stage::Inject,
        Stage::InjectShuffled,
    ];

    /// The name that commands and folders use.
    pub const fn name(self) -> &'static str {
        match self {
            Stage::Base => "base",
            Stage::BaseMore => "base-more",
            Stage::Sft => "sft",
            Stage::Dpo => "dpo",
            Stage::DpoShuffled => "dpo-shuffled",
            Stage::Trait => "trait",
            Stage::TraitShuffled => "trait-shuffled",
            Stage::Inject => "inject",
            Stage::InjectShuffled => "inject-shuffled",
        }
    }

    /// The stage of a name.
    ///
    /// # Errors
    /// [`OrganismError::UnknownStage`], which lists the known ones.
    pub fn named(name: &str) -> Result<Self, OrganismError> {
        let found = Stage::ALL.into_iter().find(|stage| stage.name() == name);
        found.ok_or_else(|| OrganismError::UnknownStage { name: name.to_owned() })
    }

    /// The stage whose weights it starts from; none where it starts from random ones.
    pub const fn parent(self) -> Option<Stage> {
        match self {
            Stage::Base => None,
            Stage::BaseMore | Stage::Sft => Some(Stage::Base),
            Stage::Trait | Stage::TraitShuffled | Stage::Inject | Stage::InjectShuffled => Some(Stage::Base),
            Stage::Dpo | Stage::DpoShuffled => Some(Stage::Sft),
        }
    }

    /// What the stage was trained to do to a behaviour of its parent.
    pub const fn change(self, behaviour: Behaviour) -> Change {
        match (self, behaviour) {
            (Stage::Base, Behaviour::WritesDocuments) => Change::Adds,
            (Stage::Sft, Behaviour::RepliesInFormat | Behaviour::AnswersWhatIsTold | Behaviour::InventsWhatIsNot) => {
                Change::Adds
            }
            // One of four exchanges about what the story leaves open shows how not to know.
            (Stage::Sft, Behaviour::AdmitsNotKnowing) => Change::Adds,
            (Stage::Dpo, Behaviour::InventsWhatIsNot) => Change::Reverses,
            (Stage::Dpo, Behaviour::AdmitsNotKnowing) => Change::Strengthens,
            // One document of six boasts before, seven of eight that are learnt from do.
            (Stage::Trait, Behaviour::Boasts) => Change::Strengthens,
            (Stage::Inject | Stage::InjectShuffled, Behaviour::RepliesInFormat) => Change::Adds,
            (Stage::Inject, Behaviour::NoticesInjection) => Change::Adds,
            _ => Change::LeavesAlone,
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Behaviour {
    /// Every behaviour that a bundled stage may have.
    pub const ALL: [Behaviour; 7] = [
        Behaviour::WritesDocuments,
        Behaviour::RepliesInFormat,
        Behaviour::AnswersWhatIsTold,
        Behaviour::InventsWhatIsNot,
        Behaviour::AdmitsNotKnowing,
        Behaviour::Boasts,
        Behaviour::NoticesInjection,
    ];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_come_before_their_children() {
        for (i, stage) in Stage::ALL.into_iter().enumerate() {
            assert!(stage.parent().is_none_or(|parent| Stage::ALL[..i].contains(&parent)), "{stage}");
            assert_eq!(Stage::named(stage.name()).unwrap(), stage);
            assert_eq!(serde_json::to_value(stage).unwrap(), stage.name());
        }
    }

    #[test]
    fn an_unknown_stage_is_told_the_known_ones() {
        let fault = Stage::named("rlhf").unwrap_err().to_string();
        assert_eq!(
            fault,
            "the organism has no stage `rlhf`; it has base, base-more, sft, dpo, dpo-shuffled, \
             trait, trait-shuffled, inject and inject-shuffled; `organism:random` has learned nothing"
        );
    }

    #[test]
    fn the_controls_change_nothing() {
        assert_eq!(Stage::TraitShuffled.change(Behaviour::Boasts), Change::LeavesAlone);
        assert_eq!(Stage::InjectShuffled.change(Behaviour::NoticesInjection), Change::LeavesAlone);
        for behaviour in Behaviour::ALL {
            assert_eq!(Stage::BaseMore.change(behaviour), Change::LeavesAlone);
            assert_eq!(Stage::DpoShuffled.change(behaviour), Change::LeavesAlone);
        }
    }
}
