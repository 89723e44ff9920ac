//! A language model: its decoder, its tokenizer, and what identifies it.

use crate::assembly::Assembly;
use crate::cache::KvCache;
use crate::checkpoint::{Checkpoint, Reading};
use crate::config::{ModelConfig, NormKind};
use crate::decoder::Decoder;
use crate::error::ModelError;
use crate::heads;
use crate::hook::Hook;
use crate::input::Input;
use crate::load_options::{LoadOptions, ModelFiles};
use crate::names::Names;
use crate::optional_file::read_optional;
use crate::parameters::{Parameters, Seeded, Stored};
use crate::shared_weights::SharedWeights;
use crate::tap::End;
use crate::tokenizer::Tokenizer;
use crate::tokenizer_files::TokenizerFiles;
use sha2::{Digest, Sha256};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tch::{Device, Kind, Tensor};
use untangle_schema::hook_pattern::expand_among;
use untangle_schema::{HookPoint, ModelIdentity, Site};

/// A decoder-only language model with hooks.
///
/// The pass is differentiable: nothing disables gradients and nothing is written in place, except by a [`KvCache`].
///
/// ```
/// use tch::Tensor;
/// use untangle_model::{LanguageModel, LoadOptions, ModelConfig, NoHook, Recorder};
///
/// // A small model with random weights; `LanguageModel::load` reads one from a directory of the hub's form.
/// let json = br#"{"model_type": "llama", "vocab_size": 50, "hidden_size": 8, "intermediate_size": 16,
///                 "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 32}"#;
/// let config = ModelConfig::from_json("config.json".as_ref(), json)?;
/// let model = LanguageModel::random(config, 0, None, &LoadOptions::default())?;
///
/// let tokens = Tensor::from_slice(&[3i64, 14, 15]).unsqueeze(0);
/// let logits = model.forward(&tokens, &mut NoHook)?.expect("a pass that nothing ends has logits");
/// assert_eq!(logits.size(), [1, 3, 50]);
/// let mut recorder = Recorder::new(vec!["blocks.0.hook_resid_post".parse()?]);
/// model.forward(&tokens, &mut recorder)?; // ends there: what comes behind is not computed
/// assert_eq!(recorder.columns()[0].len(), 3 * model.d_model());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct LanguageModel {
    decoder: Decoder,
    tokenizer: Option<Arc<Tokenizer>>,
    name: String,
    /// Commit of the hub's repository that it was fetched from.
    revision: Option<String>,
    weights_sha256: String,
    /// Whether it has an unembedding, so that it gives logits.
    has_head: bool,
    /// What a user should know of how its files were read.
    notes: Vec<String>,
    kind: Kind,
    device: Device,
}

impl LanguageModel {
    /// Loads a Hugging Face directory: `config.json`, `model.safetensors` (or shards with their index), and where
    /// present `tokenizer.json`, `tokenizer_config.json` and `generation_config.json`.
    ///
    /// # Errors
    /// A file is missing, damaged or unreadable; the configuration is not supported; a tensor is missing, left over or
    /// of the wrong shape.
    pub fn load(dir: &Path, options: &LoadOptions) -> Result<Self, ModelError> {
        let path = dir.join("config.json");
        let adapter = dir.join("adapter_config.json");
        let absent = || match adapter.is_file() {
            true => ModelError::AdapterAlone { path: adapter.clone() },
            false => ModelError::NoModel { path: dir.to_owned(), missing: "config.json" },
        };
        let text = read_optional(&path)?.ok_or_else(absent)?;
        if adapter.is_file() {
            return Err(ModelError::AdapterBeside { path: adapter });
        }
        let config = ModelConfig::from_json(&path, &text)?;
        let tokenizer = TokenizerFiles::read(dir)?.map(|files| Tokenizer::new(&files, &config)).transpose()?;
        let checkpoint = Checkpoint::from_dir(dir, &Reading { kind: options.kind, ignored: &Names::ignores })?;
        let name = dir.canonicalize().ok().and_then(|dir| Some(dir.file_name()?.to_string_lossy().into_owned()));
        Self::from_checkpoint(name.unwrap_or_else(|| "model".into()), config, checkpoint, tokenizer, options)
    }

    /// Makes a model from the bytes of its files.
    ///
    /// # Errors
    /// As [`LanguageModel::load`].
    pub fn from_memory(files: &ModelFiles<'_>, options: &LoadOptions) -> Result<Self, ModelError> {
        let config = ModelConfig::from_json(&PathBuf::from("config.json"), files.config)?;
        let tokenizer = files.tokenizer.map(|json| {
            let json = TokenizerFiles::in_memory(json);
            Tokenizer::new(&files.chat_template.map_or(json.clone(), |source| json.with_template(source)), &config)
        });
        let reading = Reading { kind: options.kind, ignored: &Names::ignores };
        let checkpoint = Checkpoint::from_bytes(files.weights, &reading)?;
        Self::from_checkpoint(files.name.to_owned(), config, checkpoint, tokenizer.transpose()?, options)
    }

    /// A model with seeded random weights: N(0, 0.02), those that write to the residual stream divided by
    /// sqrt(2 * n_layers), norms 1, biases 0. The same seed gives the same weights on every machine.
    ///
    /// # Errors
    /// The configuration contradicts itself, or the device is not there.
    pub fn random(
        config: ModelConfig,
        seed: u64,
        tokenizer: Option<Tokenizer>,
        options: &LoadOptions,
    ) -> Result<Self, ModelError> {
        config.validate(&PathBuf::from("config.json"))?;
        let decoder = assemble(&config, &mut Seeded::new(&config, seed), options)?;
        let mut model = Self::new(format!("random-{seed}"), decoder, tokenizer, String::new(), options);
        model.weights_sha256 = model.hash_of_parameters();
        Ok(model)
    }

    fn from_checkpoint(
        name: String,
        mut config: ModelConfig,
        mut checkpoint: Checkpoint,
        tokenizer: Option<Tokenizer>,
        options: &LoadOptions,
    ) -> Result<Self, ModelError> {
        heads::unwrap_names(&mut checkpoint)?;
        let head = heads::settle(&mut config, &mut checkpoint);
        let (file, rounded) = (checkpoint.path.clone(), checkpoint.rounded);
        let rounded = rounded.then(|| format!("{}: its float64 weights are rounded", file.display()));
        let mut stored = Stored::new(checkpoint, Names::of(&config));
        let decoder = assemble(&config, &mut stored, options)?;
        let (sha256, beside) = stored.finish()?;
        let beside = heads::told(&beside).map(|told| format!("{}: {told}", file.display()));
        let of_tokenizer = tokenizer.as_ref().and_then(|tokenizer| tokenizer.note().map(str::to_owned));
        let notes = head.note.into_iter().chain(beside).chain(rounded).chain(of_tokenizer).collect();
        Ok(Self { notes, has_head: head.present, ..Self::new(name, decoder, tokenizer, sha256, options) })
    }

    fn new(
        name: String,
        decoder: Decoder,
        tokenizer: Option<Tokenizer>,
        weights_sha256: String,
        options: &LoadOptions,
    ) -> Self {
        let (kind, device) = (options.kind, options.device);
        let tokenizer = tokenizer.map(Arc::new);
        let (revision, has_head, notes) = (None, true, Vec::new());
        Self { decoder, tokenizer, name, revision, weights_sha256, has_head, notes, kind, device }
    }

    /// The same model under the name and revision of where it came from, such as a hub id and a commit.
    pub fn with_origin(mut self, name: String, revision: Option<String>) -> Self {
        (self.name, self.revision) = (name, revision);
        self
    }

    /// The same model in another arithmetic. In its own, further handles to the same parameters: what another thread
    /// needs to run passes of its own.
    ///
    /// # Errors
    /// [`LoadOptions::kind`] says which kinds there are.
    pub fn in_kind(&self, kind: Kind) -> Result<Self, ModelError> {
        let options = LoadOptions { kind, device: self.device };
        let decoder = assemble(self.config(), &mut SharedWeights::of(&self.decoder), &options)?;
        let (tokenizer, name) = (self.tokenizer.clone(), self.name.clone());
        let (revision, weights_sha256) = (self.revision.clone(), self.weights_sha256.clone());
        let (has_head, notes, device) = (self.has_head, self.notes.clone(), self.device);
        Ok(Self { decoder, tokenizer, name, revision, weights_sha256, has_head, notes, kind, device })
    }

    /// What the model is.
    pub fn config(&self) -> &ModelConfig {
        &self.decoder.config
    }

    /// The tokenizer.
    ///
    /// # Errors
    /// [`ModelError::NoTokenizer`] where the model came without one.
    pub fn tokenizer(&self) -> Result<&Tokenizer, ModelError> {
        self.shared_tokenizer().map(|tokenizer| &**tokenizer)
    }

    /// The same, also for other threads.
    ///
    /// # Errors
    /// As [`LanguageModel::tokenizer`].
    pub fn shared_tokenizer(&self) -> Result<&Arc<Tokenizer>, ModelError> {
        self.tokenizer.as_ref().ok_or_else(|| ModelError::NoTokenizer { model: self.name.clone() })
    }

    /// Name and hashes, for manifests. The tokenizer's hash is empty where there is none.
    pub fn identity(&self) -> ModelIdentity {
        ModelIdentity {
            name: self.name.clone(),
            revision: self.revision.clone(),
            model_type: self.config().family.model_type().to_owned(),
            weights_sha256: self.weights_sha256.clone(),
            tokenizer_sha256: self.tokenizer.as_ref().map_or_else(String::new, |t| t.sha256().to_owned()),
        }
    }

    /// Whether a token ends a text: one that the tokenizer's or, without one, the model's files name.
    pub fn is_eos(&self, token: u32) -> bool {
        self.tokenizer.as_ref().map_or_else(|| self.config().eos_tokens.contains(&token), |t| t.eos().contains(&token))
    }

    /// What a user should know of how its files were read: heads that are passed over, weights that contradict
    /// config.json.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Whether its files have an unembedding; without one, only passes that end early are possible.
    pub fn has_unembedding(&self) -> bool {
        self.has_head
    }

    /// Kind of the parameters and activations.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Where the parameters lie.
    pub fn device(&self) -> Device {
        self.device
    }

    /// Number of blocks.
    pub fn n_layers(&self) -> usize {
        self.config().n_layers
    }

    /// Width of the residual stream.
    pub fn d_model(&self) -> usize {
        self.config().d_model
    }

    /// Largest number of positions.
    pub fn max_context(&self) -> usize {
        self.config().max_context
    }

    /// Length beyond which all tokens of a text are turned by other angles (LongRoPE), so that texts of different lengths that
    /// grow beyond it cannot pass in one batch; none where there is no such length.
    pub fn long_text_border(&self) -> Option<usize> {
        self.config().long_text_border()
    }

    /// Rows of the token embedding.
    pub fn vocab_size(&self) -> usize {
        self.config().vocab_size
    }

    /// One pass over `tokens`, int64 `[batch, seq]`, without padding: logits f32 `[batch, seq, vocab]`, or none where
    /// the hook ended the pass.
    ///
    /// # Errors
    /// The tokens do not fit the model, the hook's last point does not exist, or the hook fails.
    pub fn forward(&self, tokens: &Tensor, hook: &mut dyn Hook) -> Result<Option<Tensor>, ModelError> {
        self.forward_with(&Input::new(tokens), None, hook)
    }

    /// One pass with everything that it can have: padding, a cache, logits of the last column only. A cache takes the
    /// pass's tokens in only if the pass does not end early or fail.
    ///
    /// # Errors
    /// As [`LanguageModel::forward`].
    pub fn forward_with(
        &self,
        input: &Input<'_>,
        mut cache: Option<&mut KvCache>,
        hook: &mut dyn Hook,
    ) -> Result<Option<Tensor>, ModelError> {
        match hook.last() {
            Some(last) => self.check_hook(last)?,
            None if !self.has_head => return Err(ModelError::NoHead { model: self.name.clone() }),
            None => {}
        }
        input.check(self.config(), self.device, cache.as_deref())?;
        match self.decoder.forward(input, cache.as_deref_mut(), hook) {
            ControlFlow::Continue(logits) => Ok(Some(logits)),
            ControlFlow::Break(end) => {
                cache.into_iter().for_each(KvCache::roll_back);
                match end {
                    End::Reached => Ok(None),
                    End::Failed(error) => Err(error),
                }
            }
        }
    }

    /// The unembedding W_U, `[d_model, vocab]`: logits, before a soft cap, are `affine(normalize(x)) W_U`.
    pub fn unembedding(&self) -> Tensor {
        self.decoder.unembed().tr()
    }

    /// The unembedding with the final norm's weight folded in, `[d_model, vocab]`: entry (i, v) is w_i W_U(i, v), where
    /// w is what multiplies in the norm, and for LayerNorm each column's mean is taken off, as the norm takes off the
    /// stream's. A direction d in the final stream then moves the logits, before a soft cap, along `d^T W`, up to the
    /// norm's scale of the token at hand.
    pub fn unembedding_folded(&self) -> Tensor {
        let norm = &self.decoder.ln_final;
        let folded = self.unembedding() * norm.scale().unsqueeze(1).to_kind(self.kind); // [d_model, vocab]
        match norm.config.kind {
            NormKind::RmsNorm => folded,
            NormKind::LayerNorm => &folded - folded.mean_dim(0, true, None::<Kind>),
        }
    }

    /// All parameters by name, in the order of the pass; handles to the model's own tensors, so that a trainer can ask
    /// them for gradients and update them. A tied unembedding appears once, as `embed.weight`.
    pub fn parameters(&self) -> Vec<(String, Tensor)> {
        self.decoder.parameters().into_iter().map(|(name, tensor)| (name, tensor.shallow_clone())).collect()
    }

    /// All hook points of the model, in the order of the pass.
    pub fn hook_points(&self) -> Vec<HookPoint> {
        self.config().hook_points()
    }

    /// The hook points that a name or a pattern like `blocks.*.hook_resid_post` means, in the order of the pass.
    ///
    /// # Errors
    /// It means none that the model has; the error says which it has.
    pub fn hook_points_of(&self, pattern: &str) -> Result<Vec<HookPoint>, ModelError> {
        Ok(expand_among(pattern, &self.hook_points())?)
    }

    /// Whether the model has this hook point.
    ///
    /// # Errors
    /// [`ModelError::NoSuchHook`] names the point and says why not.
    pub fn check_hook(&self, point: HookPoint) -> Result<(), ModelError> {
        let reason = match point {
            HookPoint::Block { layer, .. } if layer >= self.n_layers() => {
                format!("its blocks are 0 to {}", self.n_layers() - 1)
            }
            HookPoint::Block { site: Site::ResidMid, .. } if !self.config().has(Site::ResidMid) => {
                "its attention and MLP run side by side".to_owned()
            }
            HookPoint::Block { site, .. } if !self.config().has(site) => {
                "it norms what attention and MLP write, not what they read".to_owned()
            }
            _ => return Ok(()),
        };
        Err(ModelError::NoSuchHook { point, reason })
    }

    /// Columns of the activations at `point`, heads flattened.
    ///
    /// # Errors
    /// The model does not have the point, or it has a number for every pair of tokens: its width is the number of keys.
    pub fn width_of(&self, point: HookPoint) -> Result<usize, ModelError> {
        self.check_hook(point)?;
        let (c, a) = (self.config(), &self.config().attention);
        let site = match point {
            HookPoint::Block { site, .. } => site,
            HookPoint::FinalScale => return Ok(1),
            HookPoint::Embed | HookPoint::FinalNormalized => return Ok(c.d_model),
        };
        Ok(match site {
            Site::AttnQ | Site::AttnZ => a.n_heads * a.d_head,
            Site::AttnK | Site::AttnV => a.n_kv_heads * a.d_head,
            Site::MlpPre | Site::MlpPost => c.d_mlp,
            Site::Ln1Scale | Site::Ln2Scale => 1,
            Site::Ln1Normalized | Site::Ln2Normalized => c.d_model,
            Site::AttnScores | Site::AttnPattern => return Err(ModelError::NoFixedWidth { point }),
            Site::ResidPre | Site::ResidMid | Site::MlpIn | Site::ResidPost => c.d_model,
            Site::AttnOut | Site::MlpOut => c.d_model,
        })
    }

    fn hash_of_parameters(&self) -> String {
        let mut digest = Sha256::new();
        for (name, tensor) in self.decoder.parameters() {
            let values = tensor.detach().to_device(Device::Cpu).to_kind(Kind::Float).flatten(0, -1);
            let values = Vec::<f32>::try_from(values).expect("a flat tensor of f32 on the CPU is a Vec<f32>");
            digest.update(name);
            values.iter().for_each(|value| digest.update(value.to_le_bytes()));
        }
        format!("{:x}", digest.finalize())
    }
}

fn assemble(config: &ModelConfig, source: &mut dyn Parameters, options: &LoadOptions) -> Result<Decoder, ModelError> {
    if !matches!(options.kind, Kind::Float | Kind::BFloat16) {
        let (what, found) = ("the kind of the parameters", format!("{:?}", options.kind));
        return Err(ModelError::Input { what, found, expected: "Float or BFloat16".into() });
    }
    Assembly { config, source, kind: options.kind, device: options.device }.decoder()
}
