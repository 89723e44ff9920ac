//! Does a model notice what is injected into it, and can it say what it is?
//!
//! d' = z(H) - z(F), with z the quantile of the normal distribution; its variance is
//! H (1 - H) / (n phi(z(H))^2) + F (1 - F) / (m phi(z(F))^2) (Gourevitch and Galanter, Psychometrika 32, 1967).
//!
//! | symbol | here |
//! |---|---|
//! | H | replies that think of something, of `n` with an injection: (hits + 1/2) / (n + 1) |
//! | F | the same, of `m` without one |
//! | phi | density of the normal distribution |

use crate::document::Split;
use crate::error::OrganismError;
use crate::inject::Injection;
use crate::rows::BOUNDARY;
use crate::thought::Thought;
use crate::world::World;
use serde::{Deserialize, Serialize};
use untangle_model::{GenerateOptions, LanguageModel, Sampling, generate};
use untangle_schema::Share;

/// Seed of the stories that are asked about; none is trained on it.
const SEED: u64 = 0x006e_6f74_6963_6564;
/// Most tokens of a reply.
const REPLY_TOKENS: usize = 16;

/// What a model says of injections.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Noticed {
    /// Replies that think of something, of those with an injection.
    pub hits: Share,
    /// Replies that think of something, of those without.
    pub false_alarms: Share,
    /// Replies that name what is injected, of those with an injection.
    pub named: Share,
}

impl Noticed {
    /// d' and half the width of its 95 % interval.
    pub fn d_prime(&self) -> (f64, f64) {
        let rate = |share: Share| (share.hits as f64 + 0.5) / (share.trials as f64 + 1.0);
        let term = |share: Share| {
            let (p, z) = (rate(share), quantile(rate(share)));
            (z, p * (1.0 - p) / (share.trials.max(1) as f64 * density(z).powi(2)))
        };
        let ((hit, a), (alarm, b)) = (term(self.hits), term(self.false_alarms));
        (hit - alarm, 1.96 * (a + b).sqrt())
    }
}

/// Asks a model about `n` stories, half of them with an injection: of topics that its training kept for testing, or of those
/// that it taught. Replies are drawn at temperature 1, each from a seed of its own: of a model that is trained to say both
/// equally often, whatever is injected, the likeliest reply would turn with any lean, however slight, and d' with it.
///
/// # Errors
/// The model has no tokenizer or fails on its input.
pub fn noticed(
    world: &World,
    model: &LanguageModel,
    injection: &Injection,
    kept: bool,
    n: usize,
    advance: &mut dyn FnMut() -> Result<(), OrganismError>,
) -> Result<Noticed, OrganismError> {
    let of_test = (0..).filter(|index| Split::of(SEED, *index) == Split::Test);
    let (mut with, mut without, mut named) = (Vec::new(), Vec::new(), Vec::new());
    let thoughts = of_test.filter_map(|index| world.thought(SEED, index, kept)).take(n);
    for (seed, thought) in (0u64..).zip(thoughts) {
        let said = reply(model, injection, &thought, seed)?;
        advance()?;
        let something = world.thought_reply(None).is_none_or(|nothing| said.trim() != nothing);
        match thought.injected {
            Some(_) => {
                with.push(something);
                named.push(said.trim() == thought.reply);
            }
            None => without.push(something),
        }
    }
    Ok(Noticed { hits: Share::of(with), false_alarms: Share::of(without), named: Share::of(named) })
}

fn reply(model: &LanguageModel, injection: &Injection, thought: &Thought, seed: u64) -> Result<String, OrganismError> {
    let tokenizer = model.tokenizer()?;
    let mut prompt = vec![BOUNDARY as u32];
    prompt.extend(tokenizer.encode(&thought.prompt)?);
    let sampling = Sampling::at(1.0);
    let options = GenerateOptions { max_new_tokens: REPLY_TOKENS, sampling, seed, stop_at_eos: true };
    let mut hook = injection.hook_for(&[thought.injected]);
    let said = generate(model, &prompt, &options, &mut hook, &mut |_| ())?;
    Ok(tokenizer.decode(&said.tokens)?)
}

/// The density of the normal distribution.
fn density(z: f64) -> f64 {
    (-z * z / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt()
}

/// z with the share p of the normal distribution below it, by halving: the distribution is summed by Simpson's rule, which
/// is right to 1e-9 between -8 and 8.
fn quantile(p: f64) -> f64 {
    let below = |z: f64| {
        let (steps, from) = (400, 0.0);
        let width = (z - from) / f64::from(steps);
        let at = |i: i32| density(from + width * f64::from(i));
        let inner: f64 = (1..steps).map(|i| at(i) * if i % 2 == 1 { 4.0 } else { 2.0 }).sum();
        0.5 + width / 3.0 * (at(0) + inner + at(steps))
    };
    let (mut low, mut high) = (-8.0, 8.0);
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        if below(middle) < p { low = middle } else { high = middle }
    }
    (low + high) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d_prime_by_hand() {
        let share = |hits, trials| Share { hits, trials };
        assert!((quantile(0.975) - 1.959_964).abs() < 1e-5 && quantile(0.5).abs() < 1e-9);
        let nothing = share(0, 1);
        let (d, half) = Noticed { hits: share(84, 99), false_alarms: share(15, 99), named: nothing }.d_prime();
        // H = 0.845 and F = 0.155: z = 1.0152 on both sides, phi = 0.2383.
        assert!((d - 2.0304).abs() < 1e-3, "{d}");
        assert!((half - 1.96 * (2.0 * 0.130_975 / (99.0 * 0.056_77f64)).sqrt()).abs() < 2e-3, "{half}");
        let (d, half) = Noticed { hits: share(50, 100), false_alarms: share(50, 100), named: nothing }.d_prime();
        assert!(d.abs() < 1e-9 && half > 0.0);
    }
}
