//! The trained stages, as they are part of the program.

use crate::error::OrganismError;
use crate::recipe::Recipe;
use crate::stage::Stage;
use untangle_model::{LanguageModel, LoadOptions, ModelConfig, ModelFiles, Tokenizer, TokenizerFiles};

/// What the organism is called wherever a model is named.
pub const NAME: &str = "organism";
/// What the organism is called before it has learned anything: the control for what a dictionary finds in it.
pub const RANDOM: &str = "organism:random";

macro_rules! weights {
    ($stage:literal) => {
        include_bytes!(concat!("../weights/", $stage, ".safetensors"))
    };
}

/// The stage that a model's name means: `organism` is the base model, `organism:sft` that stage; none where the name is
/// another model's.
///
/// # Errors
/// [`OrganismError::UnknownStage`] behind the colon.
pub fn stage_of(model: &str) -> Result<Option<Stage>, OrganismError> {
    match model.split_once(':') {
        None if model == NAME => Ok(Some(Stage::Base)),
        Some((NAME, stage)) => Stage::named(stage).map(Some),
        _ => Ok(None),
    }
}

/// The name of a stage's model: `organism`, `organism:sft`.
pub const fn model_name(stage: Stage) -> &'static str {
    match stage {
        Stage::Base => NAME,
        Stage::BaseMore => "organism:base-more",
        Stage::Sft => "organism:sft",
        Stage::Dpo => "organism:dpo",
        Stage::DpoShuffled => "organism:dpo-shuffled",
        Stage::Trait => "organism:trait",
        Stage::TraitShuffled => "organism:trait-shuffled",
        Stage::Inject => "organism:inject",
        Stage::InjectShuffled => "organism:inject-shuffled",
    }
}

/// Whether a stage has learned to reply to questions, so that it has a chat template.
pub const fn converses(stage: Stage) -> bool {
    match stage {
        Stage::Base | Stage::BaseMore | Stage::Trait | Stage::TraitShuffled => false,
        Stage::Sft | Stage::Dpo | Stage::DpoShuffled | Stage::Inject | Stage::InjectShuffled => true,
    }
}

/// The files of a stage's model.
pub fn files(stage: Stage) -> ModelFiles<'static> {
    let weights: &[u8] = match stage {
        Stage::Base => weights!("base"),
        Stage::BaseMore => weights!("base-more"),
        Stage::Sft => weights!("sft"),
        Stage::Dpo => weights!("dpo"),
        Stage::DpoShuffled => weights!("dpo-shuffled"),
        Stage::Trait => weights!("trait"),
        Stage::TraitShuffled => weights!("trait-shuffled"),
        Stage::Inject => weights!("inject"),
        Stage::InjectShuffled => weights!("inject-shuffled"),
    };
    ModelFiles {
        name: model_name(stage),
        config: include_bytes!("../weights/config.json"),
        tokenizer: Some(include_bytes!("../weights/tokenizer.json")),
        chat_template: converses(stage).then_some(include_bytes!("../weights/chat_template.jinja")),
        weights,
    }
}

/// A stage's model.
///
/// # Errors
/// The device is not there.
pub fn load(stage: Stage, options: &LoadOptions) -> Result<LanguageModel, OrganismError> {
    Ok(LanguageModel::from_memory(&files(stage), options)?)
}

/// The model from which the base stage is trained: the recipe's random weights.
///
/// # Errors
/// The device is not there.
pub fn random(options: &LoadOptions) -> Result<LanguageModel, OrganismError> {
    let files = files(Stage::Base);
    let config = ModelConfig::from_json("config.json".as_ref(), files.config)?;
    let tokenizer = Tokenizer::new(&TokenizerFiles::in_memory(files.tokenizer.unwrap_or_default()), &config)?;
    let seed = Recipe::standard().seed;
    Ok(LanguageModel::random(config, seed, Some(tokenizer), options)?.with_origin(RANDOM.to_owned(), None))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokenizer;
    use crate::world::World;
    use untangle_model::Conversation;
    use untangle_schema::Silent;

    #[test]
    fn names_are_read_back() {
        for stage in Stage::ALL {
            assert_eq!(stage_of(model_name(stage)).unwrap(), Some(stage));
        }
        assert_eq!(stage_of("organism:base").unwrap(), Some(Stage::Base));
        assert_eq!(stage_of("./organism").unwrap(), None);
        assert_eq!(stage_of("organisms").unwrap(), None);
        assert!(stage_of("organism:").unwrap_err().to_string().contains("base-more"));
    }

    #[test]
    fn conversations_become_what_the_stages_learned_from() {
        let world = World::standard();
        let sft = load(Stage::Sft, &LoadOptions::default()).unwrap();
        let template = sft.tokenizer().unwrap().chat_template().unwrap();
        let text = |turns: &[(&str, &str)], prompt| {
            template.render(&Conversation::of_turns(turns.iter().copied()), prompt, &Silent).unwrap()
        };
        for index in 0..40 {
            let exchanges = world.exchanges(1, index, 3);
            let [one, two, ..] = &exchanges[..] else { continue };
            let end = tokenizer::BOUNDARY;
            let (first, second) = (&one.question, two.question.alone());
            let learned = format!("{end}{} {}{end}{second} {}{end}", first.prompt, one.reply, two.reply);
            let asked = |prompt: &str| {
                prompt
                    .strip_suffix(
                        "
Answer:",
                    )
                    .unwrap()
                    .to_owned()
            };
            // The story in the user's turn, or as the system's message, with or without the word before a question.
            let (whole, later) = (asked(&first.prompt), asked(second));
            let turns = [("user", &*whole), ("assistant", &*one.reply), ("user", &*later), ("assistant", &*two.reply)];
            assert_eq!(text(&turns, false), learned);
            let alone = asked(first.alone());
            let story = first
                .prompt
                .strip_suffix(&format!(
                    "
{}",
                    first.alone()
                ))
                .unwrap();
            let bare = |asked: &str| asked.strip_prefix("Question: ").unwrap().to_owned();
            let (alone, later) = (bare(&alone), bare(&later));
            let turns = [("system", story), ("user", &*alone), ("assistant", &*one.reply), ("user", &*later)];
            assert_eq!(text(&turns, true), learned.strip_suffix(&format!(" {}{end}", two.reply)).unwrap());
        }
        let refused =
            template.render(&Conversation::of_turns([("assistant", "No.")]), false, &Silent).unwrap_err().to_string();
        assert!(refused.contains("message 0 is of assistant"), "{refused}");
        for stage in Stage::ALL {
            let found = load(stage, &LoadOptions::default()).unwrap().tokenizer().unwrap().chat_template();
            assert_eq!(found.is_ok(), converses(stage), "{}", model_name(stage));
        }
    }

    #[test]
    fn the_random_model_is_not_the_base_model() {
        let [random, base] = [random, |options: &LoadOptions| load(Stage::Base, options)]
            .map(|load: fn(&LoadOptions) -> _| load(&LoadOptions::default()).unwrap().identity());
        assert_eq!(random.name, RANDOM);
        assert_ne!(random.weights_sha256, base.weights_sha256);
    }

    #[test]
    fn every_stage_loads_and_has_the_recipes_shape_and_tokenizer() {
        let shape = Recipe::standard().shape;
        for stage in Stage::ALL {
            assert_eq!(files(stage).config, shape.config_json().as_bytes());
            assert_eq!(load(stage, &LoadOptions::default()).unwrap().identity().name, model_name(stage));
        }
        let trained = tokenizer::train(World::standard(), shape.vocab_size, shape.tokenizer_documents).unwrap();
        assert!(
            files(Stage::Base).tokenizer == Some(&trained[..]),
            "the world has changed since the organism was trained"
        );
    }

    #[test]
    fn all_weights_are_at_most_twenty_four_megabytes() {
        let bytes: usize = Stage::ALL.into_iter().map(|stage| files(stage).weights.len()).sum();
        assert!(bytes <= 24_000_000, "{bytes}");
    }
}
