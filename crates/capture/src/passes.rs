//! How do contexts pass through the model, several batches at a time, and come back in order?
//!
//! A pass is a function of its contexts alone. On a CPU several run at a time on few of libtorch's threads each, because
//! threads that share one product after the other wait for each other in between. Whoever takes the passes does so on the
//! calling thread meanwhile.

use crate::error::CaptureError;
use crate::plan::CapturePlan;
use crate::recorder::Recorder;
use crate::spool::{Spool, Spooled};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use tch::{Device, Tensor};
use untangle_model::{LanguageModel, threads};
use untangle_schema::HookPoint;
use untangle_store::Rows;

/// Contexts of one length that pass the model together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Job {
    /// First row of every context, ascending.
    pub(crate) contexts: Vec<u64>,
    /// Rows of each.
    pub(crate) length: usize,
}

impl Job {
    /// The contexts from row `first` on that a capture of `total` rows passes together: a full batch, or what is left
    /// of it, or the last context where it is shorter.
    pub(crate) fn at(plan: &CapturePlan, first: u64, total: u64) -> Option<Self> {
        let (left, context) = (total.checked_sub(first).filter(|left| *left > 0)?, plan.context as u64);
        let whole = left.min(plan.batch_rows()) / context;
        let (n, length) = if whole > 0 { (whole, plan.context) } else { (1, left as usize) };
        Some(Job { contexts: (0..n).map(|index| first + index * context).collect(), length })
    }

    /// All of a capture's from row `first` on.
    pub(crate) fn from(plan: &CapturePlan, first: u64, total: u64) -> impl Iterator<Item = Self> + Clone + Send {
        std::iter::successors(Self::at(plan, first, total), move |job| Self::at(plan, job.end(), total))
    }

    /// Number of rows.
    pub(crate) fn rows(&self) -> usize {
        self.contexts.len() * self.length
    }

    /// The row after the last.
    fn end(&self) -> u64 {
        self.contexts.last().map_or(0, |first| first + self.length as u64)
    }
}

/// What a pass gave, context after context.
#[derive(Debug)]
pub(crate) struct Passed {
    pub(crate) job: Job,
    pub(crate) tokens: Vec<u32>,
    pub(crate) documents: Vec<u32>,
    pub(crate) positions: Vec<u32>,
    pub(crate) offsets: Vec<u64>,
    pub(crate) flags: Vec<u8>,
    /// One row-major `[n, d]` buffer per hook point.
    pub(crate) columns: Vec<Vec<f32>>,
}

impl Passed {
    /// The rows as a writer takes them; `columns` are the borrowed buffers.
    pub(crate) fn rows<'a>(&'a self, columns: &'a [&'a [f32]]) -> Rows<'a> {
        let Passed { tokens, documents, positions, offsets, flags, .. } = self;
        Rows { tokens, documents, positions, offsets, flags, columns }
    }
}

/// How many passes run at a time, and on how many of libtorch's threads each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Team {
    passes: usize,
    threads: usize,
    /// Passes that each may have finished before they are taken.
    ahead: usize,
}

/// Memory for passes under way.
const PASSES_BYTES: usize = 2 << 30;
/// Memory for passes that wait to be taken: while a file is synced, and where passes are so short that waking somebody
/// for each would take longer than they do.
const AHEAD_BYTES: usize = 8 << 20;
/// Most passes that wait.
const MOST_AHEAD: usize = 64;

impl Team {
    /// As many passes at a time as there are threads, as long as there are so many in the text of `total` rows and
    /// their activations fit into memory. What is left of the text does not matter: the last bit of a product can
    /// depend on the number of threads, and a capture that goes on must give what it would have given.
    pub(crate) fn of(plan: &CapturePlan, model: &LanguageModel, total: u64) -> Self {
        if model.device() != Device::Cpu {
            return Team { passes: 1, threads: plan.threads, ahead: 1 };
        }
        let widths: usize = plan.hooks.iter().map(|hook| hook.d_in).sum();
        // The stream, queries, keys, values and what attention gives; the MLP's layer before, after and beside its
        // gate.
        let row = widths + 6 * model.d_model() + 3 * model.config().d_mlp;
        let bytes = (plan.batch_rows() as usize).saturating_mul(row).saturating_mul(size_of::<f32>());
        let jobs = usize::try_from(total.div_ceil(plan.batch_rows())).unwrap_or(usize::MAX);
        let passes = (PASSES_BYTES / bytes.max(1)).min(jobs).clamp(1, plan.threads);
        let threads = threads::worthwhile(model.d_model(), plan.threads / passes).max(1);
        let given = (plan.batch_rows() as usize).saturating_mul(widths * size_of::<f32>()).max(1);
        Team { passes, threads, ahead: (AHEAD_BYTES / given / passes).min(MOST_AHEAD) }
    }
}

/// What passes need beside the model.
#[derive(Debug)]
pub(crate) struct Passes<'a> {
    pub(crate) spool: &'a Spool,
    /// Row flags of every token id.
    pub(crate) flags: &'a [u8],
    pub(crate) points: Vec<HookPoint>,
    /// Tokens per full context.
    pub(crate) context: usize,
    pub(crate) team: Team,
}

impl<'a> Passes<'a> {
    pub(crate) fn new(plan: &CapturePlan, model: &LanguageModel, spool: &'a Spool, flags: &'a [u8]) -> Self {
        let points = plan.hooks.iter().map(|hook| hook.hook).collect();
        Passes { spool, flags, points, context: plan.context, team: Team::of(plan, model, spool.rows()) }
    }

    /// A recorder of the points of these passes.
    pub(crate) fn recorder(&self) -> Recorder {
        Recorder::new(self.points.clone()).with_context(self.context)
    }

    /// Runs the jobs and hands what they gave to `take`, one after the other in their order.
    ///
    /// # Errors
    /// The first job's that failed, or what `take` returns, after which no further pass begins.
    pub(crate) fn run(
        &self,
        model: &LanguageModel,
        jobs: impl Iterator<Item = Job> + Clone + Send,
        mut take: impl FnMut(Passed) -> Result<(), CaptureError>,
    ) -> Result<(), CaptureError> {
        // A tensor is used by one thread at a time, so every worker gets handles of its own.
        let workers = 0..self.team.passes;
        let models = workers.map(|_| model.in_kind(model.kind())).collect::<Result<Vec<_>, _>>()?;
        std::thread::scope(|scope| {
            let mut given: Vec<Receiver<Result<Passed, CaptureError>>> = Vec::new();
            for (worker, model) in models.into_iter().enumerate() {
                let (sender, receiver) = sync_channel(self.team.ahead);
                let own = jobs.clone().skip(worker).step_by(self.team.passes);
                scope.spawn(move || self.work(&model, own, &sender));
                given.push(receiver);
            }
            for (index, _) in jobs.enumerate() {
                // A worker that ended without an answer has panicked, which the scope passes on.
                let Ok(passed) = given[index % self.team.passes].recv() else { break };
                take(passed?)?;
            }
            Ok(())
        })
    }

    fn work(
        &self,
        model: &LanguageModel,
        jobs: impl Iterator<Item = Job>,
        sender: &SyncSender<Result<Passed, CaptureError>>,
    ) {
        threads::give_this_thread(self.team.threads);
        let mut recorder = self.recorder();
        for job in jobs {
            let passed = self.pass(model, &mut recorder, job);
            let failed = passed.is_err();
            if sender.send(passed).is_err() || failed {
                return;
            }
        }
    }

    /// One pass, on the calling thread.
    pub(crate) fn pass(
        &self,
        model: &LanguageModel,
        recorder: &mut Recorder,
        job: Job,
    ) -> Result<Passed, CaptureError> {
        let (mut tokens, mut documents, mut offsets) = (Vec::new(), Vec::new(), Vec::new());
        for run in job.contexts.chunk_by(|a, b| a + job.length as u64 == *b) {
            let read: Spooled = self.spool.read(run[0], run.len() * job.length)?;
            tokens.extend(read.tokens);
            documents.extend(read.documents);
            offsets.extend(read.offsets.into_iter().map(u64::from));
        }
        let ids: Vec<i64> = tokens.iter().map(|token| i64::from(*token)).collect();
        let shape = [job.contexts.len() as i64, job.length as i64];
        let ids = Tensor::from_slice(&ids).view(shape).to_device(model.device());
        tch::no_grad(|| model.forward(&ids, recorder))?;
        if let Some(point) = recorder.missed() {
            return Err(CaptureError::NotReached(point));
        }
        let positions = (0..job.rows()).map(|row| (row % job.length) as u32).collect();
        let flags = tokens.iter().map(|token| self.flags.get(*token as usize).copied().unwrap_or(0)).collect();
        Ok(Passed { job, tokens, documents, positions, offsets, flags, columns: recorder.take_columns() })
    }
}
