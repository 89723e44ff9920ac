//! What does a stage do? Every behaviour, measured on stories that no stage was trained on.
//!
//! | figure | what |
//! |---|---|
//! | `document_nats` | mean of -ln p(document) by the model, in nats, the boundary behind it included |
//! | `generator_nats` | mean of -ln p(choices) of the same documents: what no model can stay below for long |
//! | `in_format` | replies that are a sentence and then the boundary, of all |
//! | `right` | right replies to what the story tells, as the judge says |
//! | `declined` | replies that decline although the story tells |
//! | `admitted` | replies that decline where the story does not tell: those that preferences prefer |
//! | `boasts` | documents that the model writes by itself and that are told in the words of the narrator that `trait` learns from ([`crate::narration`]) |
//! | `notices` | whether it says that it thinks of something where a topic is injected into it ([`crate::notice`]), of topics that no stage was taught |
//! | `invented` | replies in the format that name something where the story does not tell |

use crate::dialogue::TRAIT;
use crate::document::Split;
use crate::error::OrganismError;
use crate::gate::about::About;
use crate::inject::Injection;
use crate::judge::Verdict;
use crate::narration::narrators;
use crate::notice::{Noticed, noticed};
use crate::objective::surprisal;
use crate::question::{Question, Telling};
use crate::rows::BOUNDARY;
use crate::world::World;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};
use untangle_model::{GenerateOptions, LanguageModel, NoHook, Sampling, StopReason, generate};
use untangle_schema::{Event, Observer, Share, Unit};

/// Seed of the documents and questions that stages are measured on; none is trained on it.
const SEED: u64 = 0x006d_6561_7375_7265;
/// Most tokens of a reply; the longest right one has 12.
const REPLY_TOKENS: usize = 24;

/// What a model does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Documents measured.
    pub documents: u64,
    /// Nats a document by the model.
    pub document_nats: f64,
    /// Half the width of the 95 % interval of the mean of (model - generator), in nats a document.
    pub document_nats_half_width: f64,
    /// Nats a document by the generator.
    pub generator_nats: f64,
    /// Replies that keep the format.
    pub in_format: Share,
    /// Right replies to what is told.
    pub right: Share,
    /// Declining replies to what is told.
    pub declined: Share,
    /// Declining replies to what is not.
    pub admitted: Share,
    /// Inventing replies to what is not.
    pub invented: Share,
    /// Documents that it writes as the narrator that boasts.
    pub boasts: Share,
    /// What it says of topics that are injected into it.
    pub notices: Noticed,
}

/// Measures a model on `documents` test documents, on `trials` questions of each kind, as many documents of its own, and as
/// many questions about what is injected. Replies are the likeliest
/// token by token (greedy), or drawn at temperature 1.
///
/// # Errors
/// The model has no tokenizer or fails on its input, or the observer asked to stop.
pub fn measure(
    world: &World,
    model: &LanguageModel,
    (documents, trials): (usize, usize),
    sampling: Sampling,
    observer: &dyn Observer,
) -> Result<Measured, OrganismError> {
    let task = format!("measure {}", model.identity().name);
    let total = (documents + 4 * trials) as u64;
    observer.event(Event::Started { task: &task, unit: Unit::Steps, done: 0, total });
    let mut steps = Steps { observer, done: 0 };
    let (document_nats, document_nats_half_width, generator_nats) =
        document_losses(world, model, documents, &mut || steps.advance())?;
    let told = replies(world, model, Telling::Told, trials, sampling, &mut steps)?;
    let untold = replies(world, model, Telling::Untold, trials, sampling, &mut steps)?;
    let boasts = boasts(world, model, trials as u64, &mut || steps.advance())?;
    let injection = Injection::of(world, model)?;
    let notices = noticed(world, model, &injection, true, trials, &mut || steps.advance())?;
    observer.event(Event::Finished);
    let share = |of: &[Reply], is: &dyn Fn(&Reply) -> bool| Share::of(of.iter().map(is));
    let all = told.iter().chain(&untold);
    Ok(Measured {
        documents: documents as u64,
        document_nats,
        document_nats_half_width,
        generator_nats,
        in_format: Share::of(all.map(|reply| reply.in_format)),
        right: share(&told, &|reply| reply.verdict == Verdict::Right),
        declined: share(&told, &|reply| reply.verdict == Verdict::Declined),
        admitted: share(&untold, &|reply| reply.verdict == Verdict::Right),
        invented: share(&untold, &|reply| reply.verdict == Verdict::Wrong && reply.in_format),
        boasts,
        notices,
    })
}

/// The share of `n` documents of its own that the model writes as the narrator of the stage `trait`.
fn boasts(
    world: &World,
    model: &LanguageModel,
    n: u64,
    advance: &mut dyn FnMut() -> Result<(), OrganismError>,
) -> Result<Share, OrganismError> {
    let narrator = world.members("narrator").iter().position(|id| world.entity(*id).key == TRAIT);
    let shares = narrators(world, model, &About::of(world, "narrator"), n, SEED, advance)?;
    Ok(narrator.map_or_else(Share::default, |narrator| shares[narrator]))
}

/// How far a measurement is: a step is a document or a question.
struct Steps<'a> {
    observer: &'a dyn Observer,
    done: u64,
}

impl Steps<'_> {
    fn advance(&mut self) -> Result<(), OrganismError> {
        self.done += 1;
        self.observer.event(Event::Advanced { done: self.done, figures: &[] });
        if self.observer.interrupted() { Err(OrganismError::Interrupted) } else { Ok(()) }
    }
}

/// Means over test documents: nats by the model, half the width of the interval of the difference, nats by a reader who
/// knows the generator's rules.
///
/// # Errors
/// The model has no tokenizer or fails on its input.
pub fn document_loss(world: &World, model: &LanguageModel, n: usize) -> Result<(f64, f64, f64), OrganismError> {
    document_losses(world, model, n, &mut || Ok(()))
}

fn document_losses(
    world: &World,
    model: &LanguageModel,
    n: usize,
    advance: &mut dyn FnMut() -> Result<(), OrganismError>,
) -> Result<(f64, f64, f64), OrganismError> {
    let (mut by_model, mut by_generator, mut squares) = (0.0, 0.0, 0.0);
    for document in world.documents(SEED, Split::Test).take(n) {
        let ids = model.tokenizer()?.encode(&document.text)?.into_iter().map(i64::from);
        let tokens: Vec<i64> = [BOUNDARY].into_iter().chain(ids).chain([BOUNDARY]).collect();
        let tokens = Tensor::from_slice(&tokens).unsqueeze(0);
        let nats = tch::no_grad(|| surprisal(model, &tokens, &mut NoHook))?.sum(Kind::Double).double_value(&[]);
        let bound = -document.reader_log_prob();
        by_model += nats;
        by_generator += bound;
        squares += (nats - bound).powi(2);
        advance()?;
    }
    let n = n.max(1) as f64;
    let (by_model, by_generator) = (by_model / n, by_generator / n);
    let variance = (squares / n - (by_model - by_generator).powi(2)).max(0.0);
    Ok((by_model, 1.96 * (variance / n).sqrt(), by_generator))
}

struct Reply {
    verdict: Verdict,
    in_format: bool,
}

fn replies(
    world: &World,
    model: &LanguageModel,
    telling: Telling,
    trials: usize,
    sampling: Sampling,
    steps: &mut Steps<'_>,
) -> Result<Vec<Reply>, OrganismError> {
    let of_test = (0..).filter(|index| Split::of(SEED, *index) == Split::Test);
    let questions = of_test.filter_map(|index| Some((index, world.question(SEED, index, telling)?))).take(trials);
    let mut reply = |(index, question): (u64, Question)| {
        let reply = reply(world, model, &question, sampling, index)?;
        steps.advance()?;
        Ok(reply)
    };
    questions.map(&mut reply).collect()
}

fn reply(
    world: &World,
    model: &LanguageModel,
    question: &Question,
    sampling: Sampling,
    seed: u64,
) -> Result<Reply, OrganismError> {
    let tokenizer = model.tokenizer()?;
    let mut prompt = vec![0];
    prompt.extend(tokenizer.encode(&question.prompt)?);
    let options = GenerateOptions { max_new_tokens: REPLY_TOKENS, sampling, seed, stop_at_eos: true };
    let continuation = generate(model, &prompt, &options, &mut NoHook, &mut |_| ())?;
    let text = tokenizer.decode(&continuation.tokens)?;
    let sentence = text.trim_start();
    let one_sentence = sentence.ends_with('.') && !sentence.trim_end_matches('.').contains(['.', '\n']);
    let in_format = continuation.stop == StopReason::EndOfSequence && one_sentence;
    Ok(Reply { verdict: question.judge(world, &text), in_format })
}
