//! How likely were tokens, and which were likelier?

use tch::{Device, Kind, Tensor};

/// Which tokens are scored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Whether those of the prompt are, and not the new ones alone.
    pub prompt: bool,
    /// The number of likeliest tokens that are named at each place; none where nothing is scored.
    pub alternatives: Option<usize>,
}

impl Wanted {
    /// Whether tokens of the prompt are scored.
    pub(super) fn scores_prompt(&self) -> bool {
        self.prompt && self.alternatives.is_some()
    }
}

/// A token with the logarithm of its probability as the model, or whatever steers it, has it: before temperature and whatever
/// else is done to choose.
#[derive(Clone, Debug, PartialEq)]
pub struct Scored {
    /// The token.
    pub token: u32,
    /// The natural logarithm of its probability behind the tokens before it.
    pub logprob: f32,
    /// The likeliest tokens there, likeliest first.
    pub likeliest: Vec<(u32, f32)>,
}

/// Scores `tokens`, each by its row of `logits`, `[n, vocab]`; none where one of these is not a number.
pub(super) fn score(logits: &Tensor, tokens: &[u32], alternatives: usize) -> Option<Vec<Scored>> {
    let ids: Vec<i64> = tokens.iter().map(|id| i64::from(*id)).collect();
    let ids = Tensor::from_slice(&ids).unsqueeze(1).to_device(logits.device()); // [n, 1]
    let log_p = logits.log_softmax(-1, Kind::Float); // [n, vocab]
    let k = alternatives.min(log_p.size()[1] as usize);
    let (values, likeliest) = log_p.topk(k as i64, -1, true, true); // [n, k]
    let (own, values) = (numbers(&log_p.gather(1, &ids, false)), numbers(&values));
    let likeliest: Vec<i64> = Vec::try_from(likeliest.to_device(Device::Cpu).view(-1)).expect("indices are int64");
    if own.iter().chain(&values).any(|value| value.is_nan()) {
        return None;
    }
    let at = |place: usize| Scored {
        token: tokens[place],
        logprob: own[place],
        likeliest: (place * k..(place + 1) * k).map(|at| (likeliest[at] as u32, values[at])).collect(),
    };
    Some((0..tokens.len()).map(at).collect())
}

fn numbers(tensor: &Tensor) -> Vec<f32> {
    Vec::try_from(tensor.to_device(Device::Cpu).contiguous().view(-1)).expect("one dimension of f32")
}
