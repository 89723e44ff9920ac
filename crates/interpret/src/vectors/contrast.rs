//! Texts of two kinds to vectors that tell them apart, hook point by hook point.
//!
//! Every fifth text (of pairs, every fifth pair) is left out of the making and judges: a text is told right where what lies
//! along the vector is on its kind's side of the middle between the two means of the texts that made it.

use super::fit::{Method, vector};
use super::problem::VectorProblem;
use crate::error::InterpretError;
use crate::intervene::special_tokens;
use crate::progress::Progress;
use serde::Serialize;
use std::ops::ControlFlow;
use tch::Tensor;
use untangle_model::{GenerateOptions, LanguageModel, NoHook, Recorder, Request, generate_batch};
use untangle_schema::{BosPolicy, HookPoint, Observer, Share, Unit};

/// Of so many texts one judges.
const JUDGES: usize = 5;
/// Replies that are written in one batch.
const BATCH: usize = 32;

/// Texts of two kinds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Texts {
    /// Those to which vectors point.
    pub positive: Vec<String>,
    /// The others.
    pub negative: Vec<String>,
    /// Whether the texts of the same number are pairs.
    pub paired: bool,
}

/// Which tokens of a text are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Read {
    /// The last one.
    Last,
    /// The mean over all that are not special.
    Mean,
    /// The mean over a reply of so many tokens at most, which the model writes behind the text (Chen et al., arXiv 2507.21509).
    Reply(usize),
}

/// How vectors are made.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ContrastPlan {
    /// How the direction is found.
    pub method: Method,
    /// Which tokens are read.
    pub read: Read,
    /// Whether a beginning-of-sequence token comes first.
    #[serde(skip)]
    pub bos: BosPolicy,
}

/// A vector and how well it tells texts apart.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Found {
    /// Where it lies.
    #[serde(serialize_with = "as_name")]
    pub point: HookPoint,
    /// The vector: from the negative mean to the positive one along its direction.
    #[serde(skip)]
    pub vector: Vec<f32>,
    /// Its length.
    pub length: f64,
    /// The same in multiples of the mean norm of what was read.
    pub of_norm: f64,
    /// Texts that made it and are told right.
    pub made_of: Share,
    /// Texts that judge it and are told right.
    pub held_out: Share,
}

fn as_name<S: serde::Serializer>(point: &HookPoint, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(point)
}

/// The vectors at `points`, in their order.
///
/// # Errors
/// When there are too few texts, one has no token or does not fit, the kinds do not differ, or the user asks to stop.
pub fn contrast(
    model: &LanguageModel,
    points: &[HookPoint],
    texts: &Texts,
    plan: &ContrastPlan,
    observer: &dyn Observer,
) -> Result<Vec<Found>, InterpretError> {
    if plan.method == Method::Pca && !texts.paired {
        return Err(VectorProblem::NoPairs.into());
    }
    for (which, texts) in [("positive", &texts.positive), ("negative", &texts.negative)] {
        if texts.len() < JUDGES {
            return Err(VectorProblem::TooFew { found: texts.len(), which, least: JUDGES }.into());
        }
    }
    let total = (texts.positive.len() + texts.negative.len()) as u64;
    let mut progress = Progress::start(observer, "vector", Unit::Examples, total);
    let mut read = |which, texts: &[String]| Reading { model, points, plan, which }.rows(texts, &mut progress);
    let (positive, negative) = (read("positive", &texts.positive)?, read("negative", &texts.negative)?);
    progress.finish();
    let sides = positive.iter().zip(&negative).zip(points);
    let found = |((positive, negative), point): ((&Vec<f32>, &Vec<f32>), &HookPoint)| {
        found(*point, (&positive[..], &negative[..]), positive.len() / texts.positive.len(), plan.method)
    };
    sides.map(found).collect()
}

/// What is read of the texts of one kind.
struct Reading<'a> {
    model: &'a LanguageModel,
    points: &'a [HookPoint],
    plan: &'a ContrastPlan,
    which: &'static str,
}

impl Reading<'_> {
    /// By hook point, rows of all texts.
    fn rows(&self, texts: &[String], progress: &mut Progress<'_>) -> Result<Vec<Vec<f32>>, InterpretError> {
        let special = special_tokens(self.model);
        let mut rows = vec![Vec::new(); self.points.len()];
        for (block, texts) in texts.chunks(BATCH).enumerate() {
            let encode = |text: &String| Ok(self.model.tokenizer()?.encode_with_bos(text, self.plan.bos)?);
            let prompts = texts.iter().map(encode).collect::<Result<Vec<_>, InterpretError>>()?;
            let replied = self.replied(&prompts)?;
            for (at, tokens) in replied.iter().enumerate() {
                let ordinary = |at: &usize| !special.get(tokens[*at] as usize).copied().unwrap_or(false);
                let read: Vec<usize> = match self.plan.read {
                    // A text of special tokens alone, such as the one that a beginning puts before nothing, says nothing.
                    Read::Last if !(0..tokens.len()).any(|at| ordinary(&at)) => Vec::new(),
                    Read::Last => tokens.len().checked_sub(1).into_iter().collect(),
                    Read::Mean => (0..tokens.len()).filter(ordinary).collect(),
                    Read::Reply(_) => (prompts[at].len()..tokens.len()).collect(),
                };
                if read.is_empty() {
                    let (number, text) = (block * BATCH + at + 1, texts[at].clone());
                    return Err(VectorProblem::NothingToRead { number, which: self.which, text }.into());
                }
                self.add(tokens, &read, &mut rows)?;
                progress.advance(1)?;
            }
        }
        Ok(rows)
    }

    /// The texts with replies behind them, where these are read.
    fn replied(&self, prompts: &[Vec<u32>]) -> Result<Vec<Vec<u32>>, InterpretError> {
        let Read::Reply(max_new_tokens) = self.plan.read else { return Ok(prompts.to_vec()) };
        // Sampled as the model speaks: the likeliest words of different texts are often the same.
        let options = |seed| GenerateOptions { max_new_tokens, seed, ..GenerateOptions::default() };
        let requests = prompts.iter().enumerate();
        let requests: Vec<Request> =
            requests.map(|(seed, prompt)| Request { prompt: prompt.clone(), options: options(seed as u64) }).collect();
        let groups: Vec<&[Request]> = match self.model.long_text_border() {
            Some(_) => requests.chunks(1).collect(),
            None => vec![&requests],
        };
        let mut replied = Vec::with_capacity(prompts.len());
        for group in groups {
            let replies = generate_batch(self.model, group, &mut NoHook, &mut |_, _| ControlFlow::Continue(()))?;
            replied.extend(
                group.iter().zip(replies).map(|(request, reply)| [&request.prompt[..], &reply.tokens].concat()),
            );
        }
        Ok(replied)
    }

    /// Appends the mean over some tokens of a text, hook point by hook point.
    fn add(&self, tokens: &[u32], read: &[usize], rows: &mut [Vec<f32>]) -> Result<(), InterpretError> {
        let ids: Vec<i64> = tokens.iter().map(|id| i64::from(*id)).collect();
        let ids = Tensor::from_slice(&ids).unsqueeze(0).to_device(self.model.device());
        let mut recorder = Recorder::new(self.points.to_vec());
        tch::no_grad(|| self.model.forward(&ids, &mut recorder))?;
        for ((rows, column), point) in rows.iter_mut().zip(recorder.columns()).zip(self.points) {
            let d = column.len() / tokens.len();
            let mean = |i: usize| read.iter().map(|at| f64::from(column[at * d + i])).sum::<f64>() / read.len() as f64;
            let first = rows.len();
            rows.extend((0..d).map(|i| mean(i) as f32));
            if rows[first..].iter().any(|x| !x.is_finite()) {
                return Err(InterpretError::NotFinite { point: *point });
            }
        }
        Ok(())
    }
}

/// The vector between rows of two kinds, made of some and judged on the others.
fn found(
    point: HookPoint,
    (positive, negative): (&[f32], &[f32]),
    d: usize,
    method: Method,
) -> Result<Found, InterpretError> {
    let part = |rows: &[f32], judges: bool| -> Vec<f32> {
        let rows = rows.chunks_exact(d).enumerate().filter(|(at, _)| (at % JUDGES == JUDGES - 1) == judges);
        rows.flat_map(|(_, row)| row.iter().copied()).collect()
    };
    let made_of = [part(positive, false), part(negative, false)];
    let none = || VectorProblem::NoDifference { point: point.to_string() };
    let vector = vector(method, &made_of[0], &made_of[1], d).ok_or_else(none)?;
    let along = |row: &[f32]| row.iter().zip(&vector).map(|(x, v)| f64::from(*x) * f64::from(*v)).sum::<f64>();
    let mean = |rows: &[f32]| rows.chunks_exact(d).map(along).sum::<f64>() / (rows.len() / d) as f64;
    let middle = 0.5 * (mean(&made_of[0]) + mean(&made_of[1]));
    let share = |rows: [&[f32]; 2]| {
        let above = rows[0].chunks_exact(d).filter(|row| along(row) > middle).count();
        let below = rows[1].chunks_exact(d).filter(|row| along(row) < middle).count();
        Share { hits: (above + below) as u64, trials: ((rows[0].len() + rows[1].len()) / d) as u64 }
    };
    let judging = [part(positive, true), part(negative, true)];
    let norm = |row: &[f32]| row.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
    let all = [positive, negative].concat();
    let mean_norm = all.chunks_exact(d).map(norm).sum::<f64>() / (all.len() / d) as f64;
    let length = norm(&vector);
    Ok(Found {
        point,
        length,
        of_norm: length / mean_norm,
        made_of: share([&made_of[0], &made_of[1]]),
        held_out: share([&judging[0], &judging[1]]),
        vector,
    })
}
