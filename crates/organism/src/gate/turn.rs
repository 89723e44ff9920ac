//! Which vector, added to a layer's `resid_post` at every token, turns stories to a topic, and do they stay stories?
//!
//! | figure | over |
//! |---|---|
//! | `turned` | continuations of neutral beginnings, of [`TOKENS`] tokens at temperature [`TEMPERATURE`], that are about the topic by its words |
//! | `perplexity` | exp of the mean of -ln p(token) of the same continuations under the model that nobody turns |
//! | `repetition` | 4-grams of tokens of a continuation that stood in it before, of all 4-grams of all continuations |
//!
//! Both are divided by the model's own: of its continuations of documents of the topic behind two sentences that are
//! about it. The fitted vector is the ceiling of what adding one vector can do: it minimises -ln p(token) of documents
//! of the topic behind their neutral beginning, by gradient. The mean difference is the mean of the activations at
//! tokens where the topic can be told, less that of all other topics'.

use super::about::About;
use super::held::{Tokens, sentences};
use crate::adam::Adam;
use crate::document::{Document, Split};
use crate::error::OrganismError;
use crate::objective::surprisal;
use crate::rows::BOUNDARY;
use crate::world::World;
use tch::{Kind, Tensor};
use untangle_model::{
    GenerateOptions, Hook, LanguageModel, ModelError, NoHook, Pass, Sampling, generate_rows, repeated_runs,
};
use untangle_schema::{HookPoint, Share, Site};

/// Tokens of a continuation.
pub const TOKENS: usize = 60;
/// Temperature of the continuations.
pub const TEMPERATURE: f64 = 0.8;
/// Most that perplexity and repetition of turned stories may be of the model's own.
pub const MAX_PERPLEXITY: f64 = 1.3;
/// As [`MAX_PERPLEXITY`].
pub const MAX_REPETITION: f64 = 1.5;

/// Beginnings, and continuations of each.
const BEGINNINGS: usize = 20;
const EACH: u64 = 5;
/// Documents that a vector is fitted to, rows of a step, steps, and the rate as a share of the activations' size.
const FITTED: usize = 96;
const ROWS: usize = 8;
const STEPS: u64 = 160;
const RATE: f64 = 0.02;
/// Seed of the documents.
const SEED: u64 = 0x7475_726e;

/// Stories written in one way.
#[derive(Clone, Debug, PartialEq)]
pub struct Stories {
    /// About the topic.
    pub turned: Share,
    /// As in the table above.
    pub perplexity: f64,
    /// As in the table above.
    pub repetition: f64,
    /// The continuations, behind their beginnings: those about the topic first.
    pub samples: Vec<String>,
}

/// Adds a vector at a layer.
struct Add<'v> {
    layer: usize,
    vector: &'v Tensor,
}

impl Hook for Add<'_> {
    fn wants(&self, point: HookPoint) -> bool {
        point == HookPoint::block(self.layer, Site::ResidPost)
    }

    fn visit(&mut self, _: HookPoint, _: &Pass<'_>, acts: Tensor) -> Result<Tensor, ModelError> {
        Ok(acts + self.vector)
    }
}

/// Turning a model's stories to one topic.
#[derive(Debug)]
pub struct Turning<'a> {
    model: &'a LanguageModel,
    about: &'a About,
    topic: usize,
    /// Neutral beginnings of stories.
    neutral: Vec<String>,
    /// Beginnings that are about the topic.
    named: Vec<String>,
    /// Documents of the topic: tokens, and how many of them are the neutral beginning.
    fitted: Vec<(Vec<i64>, usize)>,
}

impl<'a> Turning<'a> {
    /// Finds the documents that are needed.
    ///
    /// # Errors
    /// The model has no tokenizer.
    pub fn new(world: &World, model: &'a LanguageModel, about: &'a About, topic: usize) -> Result<Self, OrganismError> {
        let of_topic = |split| {
            let story = move |document: Document| Story::of(world, &document).filter(|story| story.topic == topic);
            world.documents(SEED, split).filter_map(story)
        };
        let others = world.documents(SEED, Split::Test).filter_map(|document| Story::of(world, &document));
        let neutral = others.take(BEGINNINGS).map(|story| story.opening().to_owned()).collect();
        let named = of_topic(Split::Test).filter_map(|story| story.sentences(2).map(str::to_owned)).take(BEGINNINGS);
        let named = named.collect();
        let encode = |text: &str| -> Result<Vec<i64>, OrganismError> {
            Ok(model.tokenizer()?.encode(text)?.into_iter().map(i64::from).collect())
        };
        let row = |story: Story| {
            let (whole, opening) = (encode(&story.text)?, encode(story.opening())?.len());
            let mut tokens = vec![BOUNDARY];
            tokens.extend(whole);
            tokens.truncate(model.max_context());
            Ok((tokens, opening))
        };
        let long = of_topic(Split::Train).filter(|story| story.sentences(2).is_some()).take(FITTED);
        let fitted = long.map(row).collect::<Result<_, OrganismError>>()?;
        Ok(Self { model, about, topic, neutral, named, fitted })
    }

    /// The model's own stories: continuations of beginnings that are about the topic.
    ///
    /// # Errors
    /// The model fails.
    pub fn own(&self) -> Result<Stories, OrganismError> {
        self.stories(&self.named, &mut NoHook)
    }

    /// Continuations of neutral beginnings that nobody turns.
    ///
    /// # Errors
    /// The model fails.
    pub fn unturned(&self) -> Result<Stories, OrganismError> {
        self.stories(&self.neutral, &mut NoHook)
    }

    /// Continuations of neutral beginnings with a vector added at a layer.
    ///
    /// # Errors
    /// The model fails.
    pub fn turned(&self, layer: usize, vector: &Tensor) -> Result<Stories, OrganismError> {
        self.stories(&self.neutral, &mut Add { layer, vector })
    }

    fn stories(&self, beginnings: &[String], hook: &mut dyn Hook) -> Result<Stories, OrganismError> {
        let tokenizer = self.model.tokenizer()?;
        let sampling = Sampling::at(TEMPERATURE);
        let options = GenerateOptions { max_new_tokens: TOKENS, sampling, seed: 0, stop_at_eos: true };
        let (mut about, mut samples) = (Vec::new(), Vec::new());
        let (mut nats, mut scored, mut repeated, mut runs) = (0.0, 0, 0, 0);
        for (number, beginning) in beginnings.iter().enumerate() {
            let mut prompt = vec![BOUNDARY as u32];
            prompt.extend(tokenizer.encode(beginning)?);
            let seeds: Vec<u64> = (0..EACH).map(|seed| number as u64 * EACH + seed).collect();
            for added in generate_rows(self.model, &prompt, &options, &seeds, hook, &mut |_, _| ())? {
                let text = tokenizer.decode(&added.tokens)?;
                about.push(self.about.held_in(&text) == Some(self.topic));
                samples.push(format!("{beginning}{text}"));
                let whole: Vec<i64> = prompt.iter().chain(&added.tokens).map(|id| i64::from(*id)).collect();
                let (n, from) = (added.tokens.len() as i64, prompt.len() as i64 - 1);
                let each =
                    tch::no_grad(|| surprisal(self.model, &Tensor::from_slice(&whole).unsqueeze(0), &mut NoHook))?;
                nats += each.narrow(1, from, n).sum(Kind::Double).double_value(&[]);
                scored += n;
                let (again, all) = repeated_runs(&added.tokens);
                repeated += again;
                runs += all;
            }
        }
        let (turned, others): (Vec<_>, Vec<_>) = samples.into_iter().zip(&about).partition(|(_, about)| **about);
        let samples = turned.into_iter().chain(others).map(|(text, _)| text).collect();
        Ok(Stories {
            turned: Share::of(about),
            perplexity: (nats / scored.max(1) as f64).exp(),
            repetition: repeated as f64 / runs.max(1) as f64,
            samples,
        })
    }

    /// The vector `[d_model]` for a layer that makes documents of the topic likeliest. `size` is the activations' norm
    /// there.
    ///
    /// # Errors
    /// The model fails.
    pub fn fitted(&self, layer: usize, size: f64) -> Result<Tensor, OrganismError> {
        let d_model = self.model.config().d_model as i64;
        let vector = Tensor::zeros([d_model], (Kind::Float, self.model.device())).set_requires_grad(true);
        let mut parameters = [vector.shallow_clone()];
        let mut adam = Adam::new(&parameters);
        let rate = RATE * size / (d_model as f64).sqrt();
        for step in 0..STEPS {
            let rows = (0..ROWS).map(|row| &self.fitted[(step as usize * ROWS + row) % self.fitted.len()]);
            let rows: Vec<_> = rows.collect();
            let length = rows.iter().map(|(tokens, _)| tokens.len()).max().unwrap_or(0);
            let (mut tokens, mut counts) = (Vec::new(), Vec::new());
            for (row, opening) in rows {
                tokens.extend(row.iter().copied().chain(std::iter::repeat(BOUNDARY)).take(length));
                // Column i predicts token i + 1, and the beginning has `opening` tokens behind the boundary.
                counts.extend((1..length).map(|at| f32::from(u8::from(at > *opening && at < row.len()))));
            }
            let matrix = |tensor: Tensor| tensor.view([ROWS as i64, -1]).to_device(self.model.device());
            let (tokens, counts) = (matrix(Tensor::from_slice(&tokens)), matrix(Tensor::from_slice(&counts)));
            let each = surprisal(self.model, &tokens, &mut Add { layer, vector: &vector })?;
            let loss = (each * &counts).sum(Kind::Float) / counts.sum(Kind::Float);
            let gradients = Tensor::run_backward(&[&loss], &parameters, false, false);
            adam.step(&mut parameters, &gradients, step, rate * (1.0 - step as f64 / STEPS as f64));
        }
        Ok(vector.detach())
    }

    /// The mean of a layer's activations where the topic can be told, less that of the other topics'.
    pub fn mean_difference(&self, tokens: &Tokens, layer: usize) -> Tensor {
        let mean = |own: bool| {
            let counts = |known: &super::held::Known| {
                known.told[0] && known.held[0].is_some_and(|held| (held == self.topic) == own)
            };
            let rows = (0i64..).zip(&tokens.known).filter(|(_, known)| counts(known)).map(|(row, _)| row);
            let rows: Vec<i64> = rows.collect();
            let rows = Tensor::from_slice(&rows);
            tokens.acts[layer].index_select(0, &rows).mean_dim([0i64].as_slice(), false, Kind::Float)
        };
        mean(true) - mean(false)
    }
}

/// A document that does not begin with its topic, up to where that ends.
struct Story {
    topic: usize,
    text: String,
    /// Bytes of the beginning that says nothing of the topic.
    opening: usize,
}

impl Story {
    fn of(world: &World, document: &Document) -> Option<Self> {
        let first = *super::held::stretches(world, document, "topic").first()?;
        let text = document.text[..first.end].to_owned();
        (first.start > 0).then_some(Self { topic: first.held, text, opening: first.start })
    }

    fn opening(&self) -> &str {
        self.text[..self.opening].trim_end()
    }

    /// The beginning with so many sentences behind it, where there are more than that.
    fn sentences(&self, n: usize) -> Option<&str> {
        let whole = sentences(self.opening()) + n;
        let ends = self.text.char_indices().filter(|(_, c)| matches!(c, '.' | '!' | '?')).map(|(at, _)| at + 1);
        let mut ends = ends.filter(|end| sentences(&self.text[..*end]) == whole && self.text[*end..].starts_with(' '));
        ends.next().map(|end| &self.text[..end]).filter(|begun| self.text.len() > begun.len() + 60)
    }
}
