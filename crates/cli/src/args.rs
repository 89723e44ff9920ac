//! The command line: verbs, and the options that all of them share.

use crate::commands;
use crate::context::Context;
use clap::{Arg, Args, Command, CommandFactory, FromArgMatches, Parser, Subcommand};
use std::num::NonZeroUsize;

/// Interpretability workbench for language models: dense activations go in; named, tested, manipulable concepts come
/// out.
#[derive(Debug, Parser)]
#[command(name = "untangle", version, arg_required_else_help = true, max_term_width = 110)]
#[command(after_help = "Results go to stdout, progress and warnings to stderr. \
    Exit codes: 0 done, 1 internal error, 2 usage, 3 bad input, 4 I/O or locked, 130 interrupted.")]
pub(crate) struct Cli {
    #[command(flatten)]
    global: GlobalArgs,
    #[command(subcommand)]
    verb: Verb,
}

/// Options of every verb.
#[derive(Debug, Args)]
pub(crate) struct GlobalArgs {
    /// Print results as one JSON object
    #[arg(long, global = true, help_heading = "Global options")]
    pub(crate) json: bool,
    /// Show warnings and errors only
    #[arg(long, short, global = true, help_heading = "Global options")]
    pub(crate) quiet: bool,
    /// Threads to compute with, at most those that the machine offers [default: all of them]
    #[arg(long, value_name = "N", global = true, help_heading = "Global options")]
    pub(crate) threads: Option<NonZeroUsize>,
    /// Take models and data sets of the hub from the cache alone
    #[arg(long, global = true, help_heading = "Global options")]
    pub(crate) offline: bool,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Capture(commands::capture::CaptureArgs),
    Train(Box<commands::train::TrainArgs>),
    Plan(commands::plan::PlanArgs),
    Evaluate(commands::evaluate::EvaluateArgs),
    Features(commands::features::FeaturesArgs),
    Label(Box<commands::label::LabelArgs>),
    Show(commands::show::ShowArgs),
    Search(commands::search::SearchArgs),
    Dashboard(commands::dashboard::DashboardArgs),
    Export(commands::export::ExportArgs),
    Import(commands::import::ImportArgs),
    Read(commands::read::ReadArgs),
    Steer(commands::steer::SteerArgs),
    Study(commands::study::StudyArgs),
    Vector(commands::vector::VectorArgs),
    Serve(commands::serve::ServeArgs),
    Encode(commands::encode::EncodeArgs),
    Inspect(commands::inspect::InspectArgs),
    Organism(commands::organism::OrganismArgs),
    Demo(commands::demo::DemoArgs),
    Completions(commands::shell::CompletionsArgs),
    Man(commands::shell::ManArgs),
}

impl Cli {
    /// Reads the command line.
    ///
    /// # Errors
    /// What is wrong with it, or the help that was asked for.
    pub(crate) fn read() -> Result<Self, clap::Error> {
        let mut command = with_negative_numbers(Self::command());
        let matches = command.try_get_matches_from_mut(std::env::args_os())?;
        Self::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
    }
}

/// Takes a negative number for the value that it stands for and not for an option, so that what is wrong with it can be said.
fn with_negative_numbers(command: Command) -> Command {
    let with = |arg: Arg| if arg.get_action().takes_values() { arg.allow_negative_numbers(true) } else { arg };
    command.mut_args(with).mut_subcommands(with_negative_numbers)
}

/// Runs the verb that was asked for.
pub(crate) fn run(cli: Cli) -> anyhow::Result<()> {
    let context = Context::new(&cli.global)?;
    match cli.verb {
        Verb::Capture(args) => commands::capture::run(&args, &context),
        Verb::Train(args) => commands::train::run(&args, &context),
        Verb::Plan(args) => commands::plan::run(&args, &context),
        Verb::Evaluate(args) => commands::evaluate::run(&args, &context),
        Verb::Features(args) => commands::features::run(&args, &context),
        Verb::Label(args) => commands::label::run(&args, &context),
        Verb::Show(args) => commands::show::run(&args, &context),
        Verb::Search(args) => commands::search::run(&args, &context),
        Verb::Dashboard(args) => commands::dashboard::run(&args, &context),
        Verb::Export(args) => commands::export::run(&args, &context),
        Verb::Import(args) => commands::import::run(&args, &context),
        Verb::Read(args) => commands::read::run(&args, &context),
        Verb::Steer(args) => commands::steer::run(&args, &context),
        Verb::Study(args) => commands::study::run(&args, &context),
        Verb::Vector(args) => commands::vector::run(&args, &context),
        Verb::Serve(args) => commands::serve::run(&args, &context),
        Verb::Encode(args) => commands::encode::run(&args, &context),
        Verb::Inspect(args) => commands::inspect::run(&args, &context),
        Verb::Organism(args) => commands::organism::run(&args, &context),
        Verb::Demo(args) => commands::demo::run(&args, &context),
        Verb::Completions(args) => commands::shell::completions(&args, &context),
        Verb::Man(args) => commands::shell::man(&args, &context),
    }
}
