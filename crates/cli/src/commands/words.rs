//! Options that say how the words TEXT and SAE are meant.

use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use untangle_sources::world::WorldPart;
use untangle_sources::{Rows, TextReading};

/// How text is read.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Text")]
pub(crate) struct TextArgs {
    /// Field of JSON lines, or column of parquet files, that holds the text [default: text, or
    /// messages with --chat]
    #[arg(long, value_name = "NAME", requires = "text")]
    field: Option<String>,
    /// Refuse text that is not UTF-8, instead of replacing and counting what is none
    #[arg(long, requires = "text")]
    strict: bool,
    /// The field holds conversations, lists of messages with role and content; the model's chat template makes texts of
    /// them
    #[arg(long, requires = "text")]
    chat: bool,
}

impl TextArgs {
    /// The same for the library.
    pub(crate) fn reading(&self) -> TextReading {
        TextReading { field: self.field.clone(), strict: self.strict, chat: self.chat }
    }
}

/// Which models a dictionary is used on.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct BelongingArgs {
    /// Use the dictionary on another model than it was trained on, or on rows of one
    #[arg(long)]
    pub(crate) other_model: bool,
}

/// Reads which rows of a store are meant.
pub(crate) fn rows() -> impl TypedValueParser<Value = Rows> {
    let all = [
        (
            Rows::Auto,
            "auto",
            "The held-out part of the store that the dictionary was trained on, all rows of any other",
        ),
        (Rows::All, "all", "Every row"),
        (Rows::Train, "train", "Rows that training may read"),
        (Rows::HeldOut, "held-out", "Rows that it may not"),
    ];
    one_of(all)
}

/// Reads which part of the world's documents is meant.
pub(crate) fn part() -> impl TypedValueParser<Value = WorldPart> {
    one_of(WorldPart::ALL.map(|part| {
        let help = match part {
            WorldPart::Train => "Nine of ten, for fitting",
            WorldPart::Validation => "One of twenty, for choosing",
            WorldPart::Test => "One of twenty, for reporting",
            WorldPart::All => "Every document",
        };
        (part, part.name(), help)
    }))
}

fn one_of<T: Copy + Send + Sync + 'static, const N: usize>(
    all: [(T, &'static str, &'static str); N],
) -> impl TypedValueParser<Value = T> {
    let values = all.map(|(_, name, help)| PossibleValue::new(name).help(help));
    PossibleValuesParser::new(values).try_map(move |given| {
        let found = all.iter().find(|(_, name, _)| *name == given);
        found.map(|(value, _, _)| *value).ok_or("no such value")
    })
}
