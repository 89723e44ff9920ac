//! `untangle completions` and `untangle man`: what shells and `man` know about the command line.

use crate::args::Cli;
use crate::context::Context;
use crate::exit::Complaint;
use clap::{Args, Command, CommandFactory};
use clap_complete::Shell;
use serde_json::json;

/// Print a script that completes verbs and options in a shell
#[derive(Debug, Args)]
#[command(after_help = "For bash: untangle completions bash > ~/.local/share/bash-completion/completions/untangle")]
pub(crate) struct CompletionsArgs {
    /// The shell that reads the script
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// Print a manual page: of the program, or of a verb
#[derive(Debug, Args)]
#[command(after_help = "To read one at once: untangle man train | man -l -")]
pub(crate) struct ManArgs {
    /// The verb, with the one below it where it has some; without any, the page of the program
    #[arg(value_name = "VERB")]
    verbs: Vec<String>,
}

pub(crate) fn completions(args: &CompletionsArgs, context: &Context) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "untangle", &mut script);
    let value = json!({ "shell": args.shell.to_string(), "script": String::from_utf8_lossy(&script) });
    context.output.result(&value, |out| out.write_all(&script))
}

pub(crate) fn man(args: &ManArgs, context: &Context) -> anyhow::Result<()> {
    let page = clap_mangen::Man::new(of_verb(args)?);
    let mut text = Vec::new();
    page.render(&mut text)?;
    let value = json!({ "verb": args.verbs, "page": String::from_utf8_lossy(&text) });
    context.output.result(&value, |out| out.write_all(&text))
}

/// The description of a verb, under the name by which it is called: `untangle organism corpus`.
fn of_verb(args: &ManArgs) -> anyhow::Result<Command> {
    let mut command = Cli::command();
    command.build();
    for verb in &args.verbs {
        let known = || command.get_subcommands().map(|c| c.get_name().to_owned()).filter(|name| name != "help");
        let Some(below) = command.find_subcommand(verb) else {
            let known: Vec<String> = known().collect();
            let choice =
                if known.is_empty() { "there is none here".into() } else { format!("there are {}", known.join(", ")) };
            return Err(Complaint::usage(format!("no verb is called `{verb}`; {choice}")));
        };
        command = below.clone();
    }
    Ok(command)
}
