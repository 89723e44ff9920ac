//! `untangle study`: how often does a steered feature have the model write about its concept, beside its controls?

use super::arms;
use super::interventions::{InterventionArgs, Interventions, UNITS, describe};
use super::options::{ComputeArgs, load_model};
use super::outputs;
use crate::cards::one_line;
use crate::context::Context;
use crate::exit::Complaint;
use crate::lines::{command_line, wrapped};
use crate::output::table;
use anyhow::Context as _;
use clap::Args;
use std::cell::RefCell;
use std::collections::HashSet;
use std::io::{self, Write};
use std::path::PathBuf;
use untangle_interpret::progress::Progress;
use untangle_interpret::steer::dose::dose;
use untangle_interpret::steer::dose_page::{self, DOSE_PAGE, DosePage};
use untangle_interpret::steer::step::Change;
use untangle_interpret::steer::{
    Arm, Curve, CurveKind, Dose, DosePlan, Judge, Strength, Studies, Study, StudyPlan, place_of, raised_by, strengths,
};
use untangle_interpret::toward::Topic;
use untangle_interpret::{Database, Dictionary, Step};
use untangle_model::{GenerateOptions, LanguageModel, Sampling};
use untangle_organism::stories;
use untangle_schema::mix::mix;
use untangle_schema::{BosPolicy, Unit, whole};
use untangle_sources::NamedModel;
use untangle_sources::models::warn_of_end;
use untangle_sources::{Subject, world};

/// Count how often steered features have the model write about a concept, beside the model itself, random directions and
/// other features with steps as long; with --sweep over strengths, beside a vector and the plain instruction
#[derive(Debug, Args)]
pub(crate) struct StudyArgs {
    /// Model directory in Hugging Face form, owner/name of the hub, or organism[:STAGE]; needed where --recipe names none
    #[arg(value_name = "MODEL")]
    model: Option<PathBuf>,
    #[command(flatten)]
    interventions: InterventionArgs,
    /// The concept's name: a continuation is about it where it holds all of these words; of the organism, its topics, and moods
    /// and narrators such as `grumpy mood`, are known by all of their words [default for the organism:
    /// Golden Gate Bridge]
    #[arg(long, value_name = "WORDS")]
    concept: Option<String>,
    /// A sentence that names the concept; behind a prompt, it begins the texts whose perplexity is measured [default: the
    /// concept's name]
    #[arg(long, value_name = "TEXT")]
    naming: Option<String>,
    /// With --sweep: what a model is told that is not steered, before every beginning [default: as --naming]
    #[arg(long, value_name = "TEXT")]
    instruction: Option<String>,
    /// With --sweep: write the curves to a page that opens from disk
    #[arg(long, value_name = "FILE.html")]
    page: Option<PathBuf>,
    /// Replace an existing page
    #[arg(long, requires = "page")]
    force: bool,
    /// Neutral beginnings [default for the organism: four of its stories']
    #[arg(long = "prompt", value_name = "TEXT")]
    prompts: Vec<String>,
    /// Continuations in all, as many of each prompt (rounded up) [default: 100; with --temperature 0 one of each prompt, as
    /// further ones would be the same]
    #[arg(long, value_name = "N")]
    continuations: Option<usize>,
    /// Tokens of a continuation
    #[arg(long, value_name = "N", default_value_t = 60)]
    tokens: usize,
    /// 0 always takes the likeliest token
    #[arg(long, value_name = "T", default_value_t = 0.8)]
    temperature: f64,
    /// Random directions, each with as many continuations
    #[arg(long, value_name = "N", default_value_t = 4)]
    random: u64,
    /// Other features, drawn by the seed, each with as many continuations
    #[arg(long, value_name = "N", default_value_t = 10)]
    others: usize,
    /// Seed of the continuations, the directions and the choice of other features
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    compute: ComputeArgs,
}

/// Continuations where none are asked for.
const CONTINUATIONS: usize = 100;
/// Columns of prose.
const WIDTH: usize = 100;
/// Followed tokens that are named.
const SHOWN: usize = 5;

pub(crate) fn run(args: &StudyArgs, context: &Context) -> anyhow::Result<()> {
    let mut asked = args.interventions.clone();
    let name = asked.complete(args.model.as_deref())?;
    let named = NamedModel::find(&name)?;
    let of_world = matches!(named, NamedModel::Organism(_) | NamedModel::Untrained);
    let specs = asked.specs(true)?;
    check(args, &asked)?;
    args.page.as_deref().map_or(Ok(()), |page| outputs::check_file(page, &DOSE_PAGE, args.force))?;
    let topic = Topic::of_name(&concept(args, of_world)?);
    let plan = plan(args, of_world, &topic)?;
    let interventions = asked.load(specs, context)?;
    let model = load_model(&name, &args.compute, context)?;
    interventions.say_doubts(&model, context)?;
    let dictionaries = interventions.dictionaries();
    let sets = interventions.sets(&asked.sweep, &model, &dictionaries)?;
    warn_of_end(&model, &plan.prompts, args.tokens, BosPolicy::Auto, &context.surroundings())?;
    let others = others(args, &sets[0], &dictionaries)?;
    if others.len() < args.others {
        let d_sae = dictionaries.first().map_or(0, |dictionary| dictionary.sae().d_sae());
        let (asked, found) = (args.others, others.len());
        let others = if found == 1 { "1 other is" } else { &format!("{found} others are") };
        context.progress.warning(&format!("--others {asked}: of {d_sae} features, {others} alive, and compared with"));
    }
    let subject = Subject::of(&topic, of_world);
    let judge = Judge { about: &|text| subject.is_in(text), names: &|text| topic.appears(text) };
    let studied = Studied {
        args,
        asked: &asked,
        model: &model,
        dictionaries: &dictionaries,
        sets: &sets,
        others: &others,
        plan: &plan,
        judge,
        subject: &subject,
        topic: &topic,
    };
    match asked.sweep.is_empty() {
        true => studied.once(context),
        false => studied.over_strengths(&interventions, context),
    }
}

fn check(args: &StudyArgs, asked: &InterventionArgs) -> anyhow::Result<()> {
    if asked.sweep.is_empty() && (args.page.is_some() || args.instruction.is_some()) {
        return Err(Complaint::usage(
            "--page and --instruction are for a study over strengths: give some with --sweep",
        ));
    }
    Ok(())
}

/// A study of which everything is known.
struct Studied<'a> {
    args: &'a StudyArgs,
    asked: &'a InterventionArgs,
    model: &'a LanguageModel,
    dictionaries: &'a [Dictionary<'a>],
    sets: &'a [Vec<Step>],
    others: &'a [usize],
    plan: &'a StudyPlan,
    judge: Judge<'a>,
    subject: &'a Subject,
    topic: &'a Topic,
}

impl Studied<'_> {
    /// With one strength.
    fn once(&self, context: &Context) -> anyhow::Result<()> {
        let Studied { args, plan, others, .. } = self;
        // Arms are of unequal number and length, so that what is left is told by the continuations.
        let progress =
            RefCell::new(Progress::start(&context.progress, "study", Unit::Examples, plan.work(1, others.len())));
        let told = |continuations| progress.borrow_mut().advance(continuations);
        let studies = Studies::new(self.model, self.dictionaries, plan, self.judge, &told)?;
        let strengths = strengths(&self.sets[0], self.model, self.dictionaries, &plan.prompts, BosPolicy::Auto)?;
        let study = studies.study(&self.sets[0], others)?;
        progress.into_inner().finish();
        let edits = words(&strengths);
        let value = serde_json::json!({
            "plan": plan, "topic": self.topic, "tokens": args.tokens, "temperature": args.temperature, "seed": args.seed,
            "others": others, "edits": edits, "strengths": strengths, "study": study,
        });
        context.output.result(&value, |out| self.write(out, &edits, &study))
    }

    fn write(&self, out: &mut dyn Write, edits: &str, study: &Study) -> io::Result<()> {
        let arms = [
            ("the model itself", &study.baseline),
            (edits, &study.steered),
            ("  random directions", &study.random),
            ("  other features", &study.others),
        ];
        let arms = arms.into_iter().filter(|(_, arm)| arm.appears.trials > 0).map(|(name, arm)| (name.to_owned(), arm));
        table(out, &arms::rows(arms, self.subject.is_more_than_a_name()), &[0])?;
        writeln!(
            out,
            "\nabout it: continuations {}, with 95 % intervals; controls make steps as long as the feature's\n\
             perplexity: of continuations behind a sentence that names it, to the model that nobody steers\n\
             {UNITS}\n",
            self.subject.sign()
        )?;
        writeln!(out, "the model itself: {}", one_line(&study.baseline.sample))?;
        writeln!(out, "{edits}: {}", one_line(&study.steered.sample))
    }

    /// Strength by strength.
    fn over_strengths(&self, interventions: &Interventions, context: &Context) -> anyhow::Result<()> {
        let Studied { args, model, dictionaries, plan, .. } = self;
        let ascending = self.ascending();
        let followed = raised_by(&self.sets[0], dictionaries, model)?;
        let instruction = args.instruction.clone().unwrap_or_else(|| plan.naming.clone());
        let doses = DosePlan {
            sets: ascending.clone(),
            others: self.others.to_vec(),
            instruction: instruction.clone(),
            point: Some(place_of(&self.sets[0][0], model, dictionaries)?),
        };
        let each = (plan.prompts.len() * plan.continuations) as u64;
        let total = plan.work(0, 0) + each * doses.work(plan.directions);
        let progress = RefCell::new(Progress::start(&context.progress, "study", Unit::Examples, total));
        let told = |continuations| progress.borrow_mut().advance(continuations);
        let studies = Studies::new(model, dictionaries, plan, self.judge, &told)?.with_distances(&followed);
        let dose = dose(&studies, &doses)?;
        progress.into_inner().finish();
        let tokenizer = model.tokenizer()?;
        let said = followed.iter().map(|id| Ok(tokenizer.decode(&[*id])?)).collect::<anyhow::Result<Vec<String>>>()?;
        let steered = self.asked.features_in_words();
        let page = DosePage {
            concept: &self.concept(),
            model: &model.identity().name,
            steered: &steered,
            sign: &self.subject.sign(),
            unit: interventions.unit(),
            instruction: &instruction,
            followed: &said,
            neutral: interventions.neutral(),
            command: &command_line(),
        };
        if let Some(path) = &args.page {
            let page = dose_page::html(&page, &dose);
            whole::replace(path, page.as_bytes()).with_context(|| path.display().to_string())?;
        }
        let value = serde_json::json!({
            "plan": plan, "topic": self.topic, "tokens": args.tokens, "temperature": args.temperature, "seed": args.seed,
            "others": self.others, "steered": steered, "unit": page.unit, "instruction": instruction, "followed": said,
            "dose": dose,
        });
        context.output.result(&value, |out| self.write_dose(out, &page, &dose))
    }

    /// The strengths with their steps, the weakest first.
    fn ascending(&self) -> Vec<(f32, Vec<Step>)> {
        let mut sets: Vec<_> = self.asked.sweep.iter().copied().zip(self.sets.iter().cloned()).collect();
        sets.sort_by(|(a, _), (b, _)| a.abs().total_cmp(&b.abs()));
        sets
    }

    fn concept(&self) -> String {
        self.args.concept.clone().unwrap_or_else(|| stories::LANDMARK.to_owned())
    }

    fn write_dose(&self, out: &mut dyn Write, page: &DosePage<'_>, dose: &Dose) -> io::Result<()> {
        let of_curve = |curve: &'_ Curve| {
            let unit = if curve.kind == CurveKind::Vector { "x" } else { page.unit };
            let name = |strength: Option<f32>| match strength {
                Some(strength) => format!("{} {strength}{unit}", curve.kind.name()),
                None => curve.kind.name().to_owned(),
            };
            curve.points.iter().map(|point| (name(point.strength), point.arm.clone())).collect::<Vec<_>>()
        };
        let arms: Vec<(String, Arm)> = std::iter::once(("the model itself".to_owned(), dose.baseline.clone()))
            .chain(dose.curves.iter().flat_map(of_curve))
            .collect();
        let arms = arms.iter().map(|(name, arm)| (name.clone(), arm));
        table(out, &arms::rows(arms, self.subject.is_more_than_a_name()), &[0])?;
        writeln!(out)?;
        wrapped(&dose_page::answer(page, dose), WIDTH).iter().try_for_each(|line| writeln!(out, "{line}"))?;
        let more = page.followed.len().saturating_sub(SHOWN);
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        writeln!(
            out,
            "\nsteered: {}; controls make steps as long\n\
             about it: continuations {}, with 95 % intervals\n\
             perplexity: of continuations behind a sentence that names it, to the model that nobody steers\n\
             nats: KL from the model itself, a written token; log-odds: by how much {}{more} become likelier together\n\
             vector: the difference that naming it makes, added so many times; instruction: {:?} before every beginning",
            page.steered,
            self.subject.sign(),
            page.followed.iter().take(SHOWN).map(|token| format!("{token:?}")).collect::<Vec<_>>().join(", "),
            page.instruction
        )?;
        match &self.args.page {
            Some(path) => writeln!(out, "\n{}", path.display()),
            None => Ok(()),
        }
    }
}

/// What is steered, in words.
fn words(strengths: &[Strength]) -> String {
    strengths.iter().map(describe).collect::<Vec<_>>().join(", ")
}

fn concept(args: &StudyArgs, of_world: bool) -> anyhow::Result<String> {
    let concept = args.concept.clone().or(of_world.then(|| stories::LANDMARK.to_owned()));
    let concept = concept.ok_or_else(|| Complaint::usage("say with --concept which words show the concept"))?;
    if !concept.chars().any(char::is_alphanumeric) {
        return Err(Complaint::usage(format!("--concept {concept:?} has no words")));
    }
    Ok(concept)
}

fn plan(args: &StudyArgs, of_world: bool, topic: &Topic) -> anyhow::Result<StudyPlan> {
    let prompts = match (args.prompts.is_empty(), of_world) {
        (false, _) => args.prompts.clone(),
        (true, true) => stories::BEGINNINGS.map(str::to_owned).to_vec(),
        (true, false) => return Err(Complaint::usage("give neutral beginnings with --prompt")),
    };
    let sampling = Sampling::at(args.temperature);
    let usual = if args.temperature == 0.0 { prompts.len() } else { CONTINUATIONS };
    let continuations = args.continuations.unwrap_or(usual);
    if continuations < prompts.len() || args.tokens == 0 {
        return Err(Complaint::usage(format!(
            "--continuations must be at least the number of prompts, {}, and --tokens at least 1",
            prompts.len()
        )));
    }
    if args.temperature == 0.0 && continuations > prompts.len() {
        return Err(Complaint::usage(format!(
            "at --temperature 0 all continuations of a prompt are the same, and {continuations} of {} prompts would count the \
             same ones again; leave --continuations out, give more prompts, or another temperature",
            prompts.len()
        )));
    }
    Ok(StudyPlan {
        naming: args.naming.clone().unwrap_or_else(|| world::naming(topic, args.concept.as_deref())),
        continuations: continuations.div_ceil(prompts.len()),
        prompts,
        generate: GenerateOptions { max_new_tokens: args.tokens, sampling, seed: args.seed, stop_at_eos: true },
        directions: args.random,
    })
}

/// Features of the first dictionary other than those steered, drawn by the seed; of a dictionary of which that is known, such as
/// fire.
fn others(args: &StudyArgs, steps: &[Step], dictionaries: &[Dictionary<'_>]) -> anyhow::Result<Vec<usize>> {
    let Some(dictionary) = dictionaries.first() else { return Ok(Vec::new()) };
    let steered: HashSet<usize> = steps
        .iter()
        .filter_map(|step| match step.change {
            Change::Feature { dictionary: 0, feature, .. } => Some(feature),
            _ => None,
        })
        .collect();
    let dead = dictionary.database.map_or(Ok(HashSet::new()), Database::dead)?;
    let mut left: Vec<usize> =
        (0..dictionary.sae().d_sae()).filter(|i| !steered.contains(i) && !dead.contains(i)).collect();
    left.sort_by_key(|feature| mix(args.seed ^ mix(*feature as u64)));
    left.truncate(args.others);
    left.sort_unstable();
    Ok(left)
}
