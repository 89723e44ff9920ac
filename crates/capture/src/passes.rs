//! How do contexts pass through the model, several batches at a time, and come back in order?
//!
//! A pass is a function of its contexts alone. On a CPU several run at a time on few of libtorch's threads each, because
//! threads that share one product after the other wait for each other in between. Whoever takes the rows does so on the
//! calling thread meanwhile, which keeps those of padded contexts until their lot is complete.

use crate::batches::{Job, Lot};
use crate::error::CaptureError;
use crate::passed::{Passed, in_order};
use crate::plan::CapturePlan;
use crate::spool::{Spool, Spooled};
use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use tch::{Device, Kind, Tensor};
use untangle_model::Recorder;
use untangle_model::{Input, LanguageModel, threads};
use untangle_schema::HookPoint;

/// What comes back of passes under way.
pub(crate) enum Step {
    /// The next rows, in the order of the text, when their lot is complete; more of it may follow at once.
    Rows(Passed),
    /// A pass of so many rows is done. What was handed on so far is whole lots.
    Done(usize),
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

/// What a worker gives back of a pass.
type Answer = Result<Passed, CaptureError>;

/// What passes need beside the model.
#[derive(Debug)]
pub(crate) struct Passes<'a> {
    pub(crate) spool: &'a Spool,
    /// Row flags of every token id.
    pub(crate) flags: &'a [u8],
    pub(crate) points: Vec<HookPoint>,
    /// Tokens per full context.
    pub(crate) context: usize,
    /// Rows that are handed on together at most.
    pub(crate) part_rows: usize,
    pub(crate) team: Team,
}

impl<'a> Passes<'a> {
    pub(crate) fn new(plan: &CapturePlan, model: &LanguageModel, spool: &'a Spool, flags: &'a [u8]) -> Self {
        let points = plan.hooks.iter().map(|hook| hook.hook).collect();
        let (part_rows, team) = (plan.batch_rows() as usize, Team::of(plan, model, spool.rows()));
        Passes { spool, flags, points, context: plan.context, part_rows, team }
    }

    /// A recorder of the points of these passes.
    pub(crate) fn recorder(&self) -> Recorder {
        Recorder::new(self.points.clone()).with_context(self.context)
    }

    /// Runs the passes and hands to `take` what they gave, lot after lot in their order.
    ///
    /// # Errors
    /// The first pass's that failed, or what `lots` gives or `take` returns, after which no further pass begins.
    pub(crate) fn run(
        &self,
        model: &LanguageModel,
        lots: impl Iterator<Item = Result<Lot, CaptureError>>,
        mut take: impl FnMut(Step) -> Result<(), CaptureError>,
    ) -> Result<(), CaptureError> {
        // A tensor is used by one thread at a time, so every worker gets handles of its own.
        let workers = 0..self.team.passes;
        let models = workers.map(|_| model.in_kind(model.kind())).collect::<Result<Vec<_>, _>>()?;
        std::thread::scope(|scope| {
            let mut workers: Vec<(Sender<Job>, Receiver<Answer>)> = Vec::new();
            for model in models {
                let (jobs, own) = channel();
                let (sender, given) = sync_channel(self.team.ahead);
                scope.spawn(move || self.work(&model, own, &sender));
                workers.push((jobs, given));
            }
            let mut jobs = lots.flat_map(jobs_of).zip((0..workers.len()).cycle());
            // Every worker has one at hand, those that it may be ahead, and one to begin with at once.
            let most = workers.len() * (self.team.ahead + 2);
            let (mut under_way, mut lot) = (VecDeque::new(), Vec::new());
            loop {
                while under_way.len() < most
                    && let Some((job, worker)) = jobs.next()
                {
                    let (job, ends) = job?;
                    // Where the worker is gone, asking it for what it gave says so.
                    let _ = workers[worker].0.send(job);
                    under_way.push_back((worker, ends));
                }
                let Some((worker, ends)) = under_way.pop_front() else { return Ok(()) };
                // A worker that ended without an answer has panicked, which the scope passes on.
                let Ok(passed) = workers[worker].1.recv() else { return Ok(()) };
                let passed = passed?;
                let rows = passed.len();
                lot.push(passed);
                if ends {
                    in_order(std::mem::take(&mut lot), self.part_rows).try_for_each(|rows| take(Step::Rows(rows)))?;
                }
                take(Step::Done(rows))?;
            }
        })
    }

    fn work(&self, model: &LanguageModel, jobs: Receiver<Job>, sender: &SyncSender<Answer>) {
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
        let mut passed = Passed::default();
        for run in job.contexts.chunk_by(|a, b| a.end() == b.first) {
            let read: Spooled = self.spool.read(run[0].first, run.iter().map(|span| span.length).sum())?;
            passed.tokens.extend(read.tokens);
            passed.documents.extend(read.documents);
            passed.offsets.extend(read.offsets.into_iter().map(u64::from));
        }
        let (ids, real) = padded(&job, &passed.tokens);
        let (ids, real) = (ids.to_device(model.device()), real.map(|real| real.to_device(model.device())));
        let input = Input { mask: real.as_ref(), ..Input::new(&ids) };
        tch::no_grad(|| model.forward_with(&input, None, recorder))?;
        if let Some(point) = recorder.missed() {
            return Err(CaptureError::NotReached(point));
        }
        passed.positions = job.contexts.iter().flat_map(|span| 0..span.length as u32).collect();
        let flags = |token: &u32| self.flags.get(*token as usize).copied().unwrap_or(0);
        passed.flags = passed.tokens.iter().map(flags).collect();
        (passed.contexts, passed.columns) = (job.contexts, recorder.take_columns());
        Ok(passed)
    }
}

/// The passes of a lot, and whether each is its last.
fn jobs_of(lot: Result<Lot, CaptureError>) -> Vec<Result<(Job, bool), CaptureError>> {
    let mut jobs: Vec<_> = match lot {
        Ok(lot) => lot.into_iter().map(|job| Ok((job, false))).collect(),
        Err(error) => vec![Err(error)],
    };
    if let Some(Ok((_, ends))) = jobs.last_mut() {
        *ends = true;
    }
    jobs
}

/// The ids of a pass, int64 `[contexts, length]`, and where they are no padding, bool of the same shape; none where none
/// is. Padding stands behind a context and repeats its last token, so that what a pass computes is of tokens of the text.
fn padded(job: &Job, tokens: &[u32]) -> (Tensor, Option<Tensor>) {
    let (length, mut ids, mut rest) = (job.length(), Vec::with_capacity(job.positions()), tokens);
    for span in &job.contexts {
        let (own, behind) = rest.split_at(span.length);
        ids.extend(own.iter().map(|token| i64::from(*token)));
        let last = ids.last().copied().unwrap_or(0);
        ids.resize(ids.len() + length - span.length, last);
        rest = behind;
    }
    let ids = Tensor::from_slice(&ids).view([job.contexts.len() as i64, length as i64]);
    let real = (job.rows() < job.positions()).then(|| {
        let lengths: Vec<i64> = job.contexts.iter().map(|span| span.length as i64).collect();
        Tensor::arange(length as i64, (Kind::Int64, Device::Cpu)).lt_tensor(&Tensor::from_slice(&lengths).unsqueeze(1))
    });
    (ids, real)
}
