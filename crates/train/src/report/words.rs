//! What the words of a report mean, each in a sentence for readers who are new to them.

/// Words with their meanings.
pub(super) const WORDS: [(&str, &str); 9] = [
    (
        "FVU",
        "Fraction of variance unexplained: the squared distance between activations and reconstructions, over that between \
         activations and their mean. 0 is a perfect reconstruction, 1 is what always answering the mean would give; lower \
         is better. Of a crosscoder, over all parts, each scaled to be as large as the others.",
    ),
    (
        "L0",
        "How many features are active at a token, on average. With fewer, each says more about the token; with more, the \
         reconstruction is better.",
    ),
    (
        "Pareto front",
        "The dictionaries than which no other has both fewer active features and a smaller error. What lies above the line \
         is beaten by one on it.",
    ),
    (
        "dead features",
        "Features that no longer fire. On held-out rows: that fired on none of them. During training: that were silent for \
         as many tokens as the setting dead_after says.",
    ),
    (
        "dense features",
        "Features that fire on more than a tenth of the rows. They rarely mean something that people have a word for.",
    ),
    (
        "density",
        "On what part of the rows a feature fires, as a power of ten: -3 is one row in a thousand. A healthy dictionary has \
         one broad hill; a second one far to the left are features that are about to die.",
    ),
    (
        "running FVU",
        "The error of the batch that was just trained on, over the variance of a sample of the training rows. It is cheap and \
         close to the held-out FVU, and not the same.",
    ),
    (
        "held-out",
        "Rows of documents that training never read, the same that `untangle evaluate` uses. Figures are of the ordinary \
         ones: neither special tokens (beginning of sequence and the like) nor outliers (attention sinks).",
    ),
    (
        "gradient norm",
        "Length of the gradient of all parameters together, before it was clipped to the setting clip_norm.",
    ),
];

/// What the settings of a plan mean.
pub(super) const SETTINGS: [(&str, &str); 25] = [
    ("architecture", "how features are chosen, and what is penalised"),
    ("k", "active features per row in training"),
    ("l0", "active features per row that the thresholds are calibrated to"),
    ("prefixes", "leading features that also reconstruct on their own"),
    ("penalty", "what is penalised"),
    ("sparsity", "coefficient of the penalty, and the L0 that it is steered to"),
    ("bandwidth", "width of the window in which thresholds learn"),
    ("threshold", "thresholds at the start"),
    ("begin", "step at which the exponent begins to fall"),
    ("steps", "steps of the run"),
    ("end", "what the exponent falls to"),
    ("d_in", "width of the activations"),
    ("d_sae", "number of features"),
    ("batch", "rows per step"),
    ("schedule", "learning rate, and the steps of its warm-up, of its decay and of the run"),
    ("optimiser", "how weights are moved"),
    ("centre", "where b_dec starts"),
    ("seed", "seed of the first weights"),
    ("clip_norm", "norm that gradients are scaled down to"),
    ("aux_coefficient", "coefficient of the loss that revives dead features"),
    ("dead_after", "tokens of silence after which a feature counts as dead"),
    ("normalise", "whether rows are scaled in training; the scale is folded into the result"),
    ("precision", "arithmetic in which features are proposed; f32 decides"),
    ("freeze", "what stays as it was drawn"),
    ("ema", "decay of the average of the weights that is saved"),
];

/// The meaning of a setting; nothing where its name says it.
pub(super) fn meaning(setting: &str) -> &'static str {
    SETTINGS.into_iter().find(|(name, _)| *name == setting).map_or("", |(_, meaning)| meaning)
}
