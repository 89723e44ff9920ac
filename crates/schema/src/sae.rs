//! The names of a dictionary's files and tensors, which are SAELens' where it has one.

/// File names of a dictionary's directory.
pub mod files {
    /// What the dictionary is beside its tensors.
    pub const CONFIG: &str = "cfg.json";
    /// The tensors.
    pub const WEIGHTS: &str = "sae_weights.safetensors";
    /// What the training run decided and what came of it.
    pub const TRAINING: &str = "training.json";
    /// One JSON object per logged step.
    pub const METRICS: &str = "metrics.jsonl";
    /// The same for TensorBoard, which looks for `tfevents` in names.
    pub const EVENTS: &str = "events.out.tfevents.untangle";
    /// In a grid's folder: the names of its dictionaries, and the version of the tool.
    pub const GRID: &str = "grid.json";
    /// A page that shows how the training went.
    pub const REPORT: &str = "report.html";
}

/// Names of the tensors, as SAELens writes them.
pub mod tensors {
    /// `[d_in, d_sae]`
    pub const W_ENC: &str = "W_enc";
    /// `[d_sae, d_in]`; `[d_sae, d_out]` of transcoders
    pub const W_DEC: &str = "W_dec";
    /// `[d_sae]`
    pub const B_ENC: &str = "b_enc";
    /// `[d_in]`; `[d_out]` of transcoders
    pub const B_DEC: &str = "b_dec";
    /// `[d_sae]`, of `jumprelu`
    pub const THRESHOLD: &str = "threshold";
    /// `[d_sae]`, of `gated`
    pub const B_GATE: &str = "b_gate";
    /// `[d_sae]`, of `gated`
    pub const B_MAG: &str = "b_mag";
    /// `[d_sae]`, of `gated`
    pub const R_MAG: &str = "r_mag";
    /// `[d_out, d_in]`, of transcoders with a skip connection
    pub const W_SKIP: &str = "W_skip";
    /// `[d_sae]`, the logarithm of `threshold`, of training states of `jumprelu`
    pub const LOG_THRESHOLD: &str = "log_threshold";
    /// `[d_sae]`, what activations are multiplied by before they are decoded, of dictionaries that were finetuned
    pub const FINETUNING: &str = "finetuning_scaling_factor";
    /// The same in older files.
    pub const SCALING: &str = "scaling_factor";
}
