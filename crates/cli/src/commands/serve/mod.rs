//! `untangle serve`: a page on which one thinks with features, and the model behind OpenAI's API.

mod demo;
mod origin;
mod runs;

use super::dictionaries::Dictionaries;
use super::interventions::say_vector_doubts;
use super::options::{Bos, ComputeArgs, load_model};
use super::words::BelongingArgs;
use crate::context::Context;
use crate::exit::Complaint;
use anyhow::Context as _;
use clap::Args;
use runs::Watched;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use untangle_interpret::Spec;
use untangle_interpret::toward::Topic;
use untangle_interpret::vectors::ControlVector;
use untangle_model::LanguageModel;
use untangle_schema::Observer;
use untangle_serve::wire::runs::Trainings;
use untangle_serve::wire::toward::{IsAbout, Subjects};
use untangle_serve::{Limits, Listener, ServeOptions, Served, Server, Token};
use untangle_sources::models::chat_template;
use untangle_sources::{NamedModel, Recipe, Subject};

/// The variable that may hold a token where no file is named.
const TOKEN: &str = "UNTANGLE_TOKEN";

/// Open a workbench in the browser, and serve a model by OpenAI's API, each request steered in its own way; Ctrl-C ends it
///
/// The address that is printed is a page: prompts and what fires in them, features, search, steering side by side. Without a
/// MODEL it is of what `untangle demo` left in demo-output. Requests have a field `steering`, in the words of `untangle steer --feature`: [{"feature": 12, "add": "2x"}]. With other
/// addresses than those of this machine a token is needed. /openapi.json says what there is.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Model directory in Hugging Face form, owner/name of the hub, or organism[:STAGE] [default: that of the demo, with its
    /// dictionary]
    #[arg(value_name = "MODEL")]
    model: Option<PathBuf>,
    /// Dictionary directory, of an autoencoder, a transcoder or a crosscoder; of several, features are named by directory
    /// and number, as in early#12
    #[arg(long, value_name = "SAE")]
    sae: Vec<PathBuf>,
    /// Feature database, for labels and for strengths with x; one for each of the dictionaries that have one
    #[arg(long, value_name = "FEATURES.db")]
    features: Vec<PathBuf>,
    /// File of control vectors that requests may name; they can name no other file
    #[arg(long = "vector", value_name = "FILE.gguf")]
    vectors: Vec<PathBuf>,
    /// A further name of the model, under which it is always steered: calm=12:add=2x, for harnesses that know no field for it;
    /// may be given several times, also for one name
    #[arg(long, value_name = "NAME=INTERVENTION", value_parser = variant)]
    steered: Vec<(String, Spec)>,
    /// Recipe of `untangle steer`: model, dictionaries and databases as far as they are not named here, and interventions, with
    /// which the page begins and under whose file's name the model is always steered
    #[arg(long, value_name = "FILE.toml")]
    recipe: Option<PathBuf>,
    /// Folder with trainings, finished or going on: the page shows how they come along and how good their dictionaries are
    #[arg(long, value_name = "DIR")]
    runs: Option<PathBuf>,
    #[command(flatten)]
    belonging: BelongingArgs,
    /// Address to listen at; one that other machines reach needs a token
    #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST), help_heading = "Connections")]
    host: IpAddr,
    /// Port to listen at; 0 for any that is free
    #[arg(long, value_name = "PORT", default_value_t = 8765, help_heading = "Connections")]
    port: u16,
    /// File whose content, at least 16 letters, callers send as `Authorization: Bearer TOKEN` [default: $UNTANGLE_TOKEN]
    #[arg(long, value_name = "FILE", help_heading = "Connections")]
    token_file: Option<PathBuf>,
    /// Texts that are written side by side
    #[arg(long, value_name = "N", default_value = "16", help_heading = "Limits")]
    batch: NonZeroUsize,
    /// Texts that may wait; more are refused with status 429
    #[arg(long, value_name = "N", default_value = "256", help_heading = "Limits")]
    queue: NonZeroUsize,
    /// Tokens of one continuation at most [default: what the model's context has room for]
    #[arg(long, value_name = "N", help_heading = "Limits")]
    max_tokens: Option<NonZeroUsize>,
    /// Beginning-of-sequence token before prompts that are text
    #[arg(long, value_enum, default_value = "auto")]
    bos: Bos,
    #[command(flatten)]
    compute: ComputeArgs,
}

pub(crate) fn run(args: &ServeArgs, context: &Context) -> anyhow::Result<()> {
    let recipe = args.recipe()?;
    let named = args.named(recipe.as_ref(), context)?;
    let tray = recipe.as_ref().map(Recipe::specs).transpose()?.unwrap_or_default();
    if let Some(folder) = args.runs.as_ref().filter(|folder| !folder.is_dir()) {
        return Err(Complaint::bad_input(format!(
            "{}: no folder; name the one in which dictionaries are trained",
            folder.display()
        )));
    }
    NamedModel::find(&named.model)?;
    // What is wrong with the address is said before anything is loaded; whoever connects meanwhile waits.
    let listener = Listener::bind(SocketAddr::new(args.host, args.port), args.token()?)?;
    args.vectors.iter().try_for_each(|path| ControlVector::read(path).map(drop))?;
    let Loaded { dictionaries, model } = named.load(args, context)?;
    let template = chat_template(&model, &context.surroundings()).map_err(|error| error.to_string());
    let (limits, bos) = (args.limits(), args.bos.into());
    let mut variants: BTreeMap<String, Vec<Spec>> = BTreeMap::new();
    args.steered.iter().for_each(|(name, spec)| variants.entry(name.clone()).or_default().push(spec.clone()));
    if let Some(path) = args.recipe.as_ref().filter(|_| !tray.is_empty()) {
        let name = path.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if variants.contains_key(&name) {
            let path = path.display();
            return Err(Complaint::usage(format!(
                "--steered {name}: {path} has its interventions under this name; choose another, or rename the file"
            )));
        }
        variants.entry(name).or_default().extend(tray.iter().cloned());
    }
    // What it steers with already can be named, too.
    let of_specs = variants.values().flatten().flat_map(Spec::vectors).map(PathBuf::from);
    // Each file once, under the name by which it was given first.
    let mut seen = BTreeSet::new();
    let is_new = |path: &PathBuf| seen.insert(fs::canonicalize(path).unwrap_or_else(|_| path.clone()));
    let vectors: Vec<PathBuf> = args.vectors.iter().cloned().chain(of_specs).filter(is_new).collect();
    say_vector_doubts(vectors.iter().map(PathBuf::as_path), &model, named.belonging.other_model, context)?;
    let all = dictionaries.all();
    let named_dictionaries = all.iter().map(|dictionary| dictionary.name.to_owned()).zip(named.saes.iter().cloned());
    let trainings = Watched { folder: args.runs.clone(), served: named_dictionaries.collect() };
    let origin = origin::of(&named.model, &named.saes, &named.databases, named.belonging.other_model);
    let served = Served { model: &model, dictionaries: &all, vectors: &vectors };
    let (address, chat) = (listener.address(), template.is_ok());
    let trainings: Option<Box<dyn Trainings>> = Some(Box::new(trainings));
    let is_of_world = matches!(NamedModel::find(&named.model)?, NamedModel::Organism(_) | NamedModel::Untrained);
    let subjects = is_of_world.then(|| Box::new(OfWorld) as Box<dyn Subjects>);
    let server = Server::new(
        listener,
        served,
        ServeOptions { limits, bos, template, variants, origin, tray, trainings, subjects },
    )?;
    let url = format!("http://{address}");
    let value = serde_json::json!({
        "url": url, "port": address.port(), "model": model.identity().name, "chat": chat,
    });
    context.output.result(&value, |out| writeln!(out, "{url}"))?;
    context.progress.note("the address opens the workbench in a browser; Ctrl-C ends the server");
    server.run(&context.progress);
    match context.progress.interrupted() {
        true => Err(Complaint::interrupted("interrupted; the server has ended, and nothing waits for it any more")),
        false => Ok(()),
    }
}

/// What is served.
pub(crate) struct Named {
    model: PathBuf,
    saes: Vec<PathBuf>,
    databases: Vec<PathBuf>,
    belonging: BelongingArgs,
}

/// The same, read.
pub(crate) struct Loaded {
    dictionaries: Dictionaries,
    pub(crate) model: LanguageModel,
}

impl Named {
    /// Reads it.
    pub(crate) fn load(&self, args: &ServeArgs, context: &Context) -> anyhow::Result<Loaded> {
        let dictionaries = Dictionaries::load(&self.saes, &self.databases, self.belonging, context)?;
        let model = load_model(&self.model, &args.compute, context)?;
        dictionaries.say_doubts(&model, context);
        Ok(Loaded { dictionaries, model })
    }
}

/// What texts of the organism's world may be about.
#[derive(Debug)]
struct OfWorld;

impl Subjects for OfWorld {
    fn of(&self, words: &str) -> (String, IsAbout) {
        let subject = Subject::of(&Topic::of_name(words), true);
        (subject.sign(), Box::new(move |text| subject.is_in(text)))
    }
}

/// Reads a name and what is steered under it.
fn variant(text: &str) -> Result<(String, Spec), String> {
    let (name, spec) = text.split_once('=').ok_or("expected NAME=INTERVENTION, such as calm=12:add=2x")?;
    match name.trim() {
        "" => Err("the name is empty".to_owned()),
        name => Ok((name.to_owned(), spec.parse().map_err(|error| format!("{error}"))?)),
    }
}

impl ServeArgs {
    /// The recipe that is named.
    pub(crate) fn recipe(&self) -> anyhow::Result<Option<Recipe>> {
        Ok(self.recipe.as_deref().map(Recipe::read).transpose()?)
    }

    /// How much may be asked at a time.
    pub(crate) fn limits(&self) -> Limits {
        Limits { batch: self.batch.get(), queue: self.queue.get(), max_tokens: self.max_tokens.map(NonZeroUsize::get) }
    }

    /// What is to be served: what was named, or what the demo left.
    pub(crate) fn named(&self, recipe: Option<&Recipe>, context: &Context) -> anyhow::Result<Named> {
        let or = |said: &[PathBuf], other: Option<&Vec<PathBuf>>| match said {
            [] => other.cloned().unwrap_or_default(),
            said => said.to_vec(),
        };
        let saes = or(&self.sae, recipe.map(|recipe| &recipe.sae));
        let databases = or(&self.features, recipe.map(|recipe| &recipe.features));
        let other_model = self.belonging.other_model || recipe.is_some_and(|recipe| recipe.other_model);
        let belonging = BelongingArgs { other_model };
        match self.model.clone().or_else(|| recipe?.model.clone()) {
            Some(model) => Ok(Named { model, saes, databases, belonging }),
            None if recipe.is_some() => {
                Err(Complaint::usage("name a MODEL, or a --recipe that says which one is meant"))
            }
            None if self.sae.is_empty() && self.features.is_empty() => demo::left_behind(belonging, context),
            None => Err(Complaint::usage(
                "--sae and --features are of a model; name it first: untangle serve MODEL --sae SAE",
            )),
        }
    }

    /// The token that callers must send, where there is one.
    fn token(&self) -> anyhow::Result<Option<Token>> {
        let of = |text: &str| Token::new(text).map(Some);
        if let Some(path) = &self.token_file {
            let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
            return of(&text).with_context(|| path.display().to_string());
        }
        match std::env::var(TOKEN) {
            Ok(text) if !text.trim().is_empty() => of(&text).context(TOKEN),
            _ => Ok(None),
        }
    }
}
