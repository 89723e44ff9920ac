//! Continuing a prompt, token by token, with a hook looking on or interfering.

use crate::cache::KvCache;
use crate::error::ModelError;
use crate::hook::{Hook, Phase};
use crate::input::{Input, Logits};
use crate::language_model::LanguageModel;
use crate::sampling::Sampling;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tch::Tensor;

/// How a prompt is continued.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GenerateOptions {
    /// Most tokens that are added.
    pub max_new_tokens: usize,
    /// How each is chosen.
    pub sampling: Sampling,
    /// Seed of the choice.
    pub seed: u64,
    /// Whether an end-of-sequence token ends the text; it is not part of the result.
    pub stop_at_eos: bool,
}

impl Default for GenerateOptions {
    fn default() -> Self {
        let sampling = Sampling { temperature: 1.0, top_k: None, top_p: None };
        Self { max_new_tokens: 64, sampling, seed: 0, stop_at_eos: true }
    }
}

/// Why a text ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// It has as many new tokens as were asked for.
    MaxNewTokens,
    /// The model chose an end-of-sequence token.
    EndOfSequence,
    /// The model's context is full.
    ContextFull,
}

/// What was added to a prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Continuation {
    /// The new tokens, without the prompt and without an end-of-sequence token that ended them.
    pub tokens: Vec<u32>,
    /// Why there are no more.
    pub stop: StopReason,
}

/// Continues `prompt`. `on_token` receives every new token as it is chosen.
///
/// The hook sees the prompt in one pass of [`Phase::Prompt`] and then each new token but the last in a pass of
/// [`Phase::Generated`].
///
/// # Errors
/// The prompt is empty or does not fit the context, the settings are out of range, the hook fails or ends passes
/// early, or the logits stop being finite.
pub fn generate(
    model: &LanguageModel,
    prompt: &[u32],
    options: &GenerateOptions,
    hook: &mut dyn Hook,
    on_token: &mut dyn FnMut(u32),
) -> Result<Continuation, ModelError> {
    let mut rows = generate_rows(model, prompt, options, &[options.seed], hook, &mut |_, token| on_token(token))?;
    Ok(rows.remove(0)) // one row per seed
}

/// Continues `prompt` once for each of `seeds`, all in one batch; `options.seed` is not used. `on_token` receives the
/// row and its new token. A row that has ended stays in the batch until all have, and is not listened to.
///
/// # Errors
/// As [`generate`].
pub fn generate_rows(
    model: &LanguageModel,
    prompt: &[u32],
    options: &GenerateOptions,
    seeds: &[u64],
    hook: &mut dyn Hook,
    on_token: &mut dyn FnMut(usize, u32),
) -> Result<Vec<Continuation>, ModelError> {
    check(model, prompt, options, hook)?;
    let mut rows: Vec<Row> = seeds.iter().map(|seed| Row::new(*seed, options)).collect();
    let mut texts = Texts { prompt: prompt.len(), rows: vec![prompt.to_vec(); rows.len()] };
    let mut cache = KvCache::new(model.config());
    while rows.iter().any(|row| row.stop.is_none()) {
        let logits = tch::no_grad(|| texts.last_logits(model, &mut cache, hook))?;
        let mut chosen = vec![0; rows.len()];
        for (index, row) in rows.iter_mut().enumerate().filter(|(_, row)| row.stop.is_none()) {
            let not_finite = ModelError::NotFinite { n_tokens: cache.len() };
            chosen[index] = options.sampling.choose(&logits[index], &mut row.rng).ok_or(not_finite)? as u32;
            if row.accept(chosen[index], model, options, cache.len()) {
                on_token(index, chosen[index]);
            }
        }
        texts.push(&chosen);
    }
    Ok(rows.into_iter().map(Row::finish).collect())
}

fn check(model: &LanguageModel, prompt: &[u32], options: &GenerateOptions, hook: &dyn Hook) -> Result<(), ModelError> {
    if let Some((what, found, expected)) = options.sampling.problem() {
        return Err(ModelError::Input { what, found, expected: expected.into() });
    }
    if let Some(last) = hook.last() {
        return Err(ModelError::NoLogits { last });
    }
    let (tokens, max_context) = (prompt.len(), model.max_context());
    if tokens == 0 {
        let (found, expected) = ("empty".into(), "at least one token; a beginning-of-sequence token will do".into());
        return Err(ModelError::Input { what: "prompt", found, expected });
    }
    if tokens > max_context {
        return Err(ModelError::ContextExceeded { tokens, max_context });
    }
    Ok(())
}

/// All tokens of all rows, those of rows that have ended too.
struct Texts {
    /// Length of the prompt.
    prompt: usize,
    rows: Vec<Vec<u32>>,
}

impl Texts {
    fn push(&mut self, chosen: &[u32]) {
        self.rows.iter_mut().zip(chosen).for_each(|(row, token)| row.push(*token));
    }

    /// The logits after the last token, `[batch][vocab]`, by a pass over what `cache` does not hold; where the model
    /// turns the tokens of texts of this length by other angles, over all tokens again.
    fn last_logits(
        &self,
        model: &LanguageModel,
        cache: &mut KvCache,
        hook: &mut dyn Hook,
    ) -> Result<Vec<Vec<f32>>, ModelError> {
        let len = self.rows.first().map_or(0, Vec::len);
        if cache.is_outgrown_by(len, model.config()) {
            *cache = KvCache::for_length(model.config(), len);
        }
        let mut logits = None;
        for (end, phase) in [(self.prompt, Phase::Prompt), (len, Phase::Generated)] {
            if cache.len() < end {
                logits = Some(self.pass(model, end, phase, cache, hook)?);
            }
        }
        let logits = logits.expect("every pass but the first follows a push").squeeze_dim(1); // [batch, vocab]
        Ok(Vec::try_from(logits.to_device(tch::Device::Cpu)).expect("two dimensions of f32 are rows of f32"))
    }

    /// One pass over every row's tokens up to `end`; the logits after the last of them, `[batch, 1, vocab]`.
    fn pass(
        &self,
        model: &LanguageModel,
        end: usize,
        phase: Phase,
        cache: &mut KvCache,
        hook: &mut dyn Hook,
    ) -> Result<Tensor, ModelError> {
        let new = self.rows.iter().flat_map(|row| &row[cache.len()..end]);
        let ids: Vec<i64> = new.map(|id| i64::from(*id)).collect();
        let tokens = Tensor::from_slice(&ids).view([self.rows.len() as i64, -1]).to_device(model.device());
        let input = Input { tokens: &tokens, mask: None, phase, logits: Logits::Last };
        let logits = model.forward_with(&input, Some(cache), hook)?;
        Ok(logits.expect("a hook without a last point does not end a pass"))
    }
}

/// One text that is being written.
struct Row {
    rng: ChaCha8Rng,
    tokens: Vec<u32>,
    stop: Option<StopReason>,
}

impl Row {
    fn new(seed: u64, options: &GenerateOptions) -> Self {
        let stop = (options.max_new_tokens == 0).then_some(StopReason::MaxNewTokens);
        Self { rng: ChaCha8Rng::seed_from_u64(seed), tokens: Vec::new(), stop }
    }

    /// Takes a chosen token and decides whether the text ends; whether the token is part of it. `seen` tokens of this
    /// row have gone through the model.
    fn accept(&mut self, token: u32, model: &LanguageModel, options: &GenerateOptions, seen: usize) -> bool {
        if options.stop_at_eos && model.is_eos(token) {
            self.stop = Some(StopReason::EndOfSequence);
            return false;
        }
        self.tokens.push(token);
        if self.tokens.len() == options.max_new_tokens {
            self.stop = Some(StopReason::MaxNewTokens);
        } else if seen == model.max_context() {
            self.stop = Some(StopReason::ContextFull);
        }
        true
    }

    fn finish(self) -> Continuation {
        Continuation { tokens: self.tokens, stop: self.stop.unwrap_or(StopReason::MaxNewTokens) }
    }
}
