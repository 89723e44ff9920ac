//! The hook that steers: any steps, at any points of a model, for every text of a batch its own.
//!
//! Several steps of one feature at one token are taken in the order in which they were given, each on what the earlier ones left.
//! At a hook point, with h as it arrives there, the features of all dictionaries that write there move it by
//! `sum s (f'_i - f_i) d_i` ([`super::edit`] has the equation), and steps along directions follow in the order in which they
//! were given. What a feature or a condition reads is what arrives at its own point, before anything is changed there. A
//! token that no step moves keeps every bit.

use super::dictionary::{Dictionary, Part};
use super::heard::{on_host, some_rows};
use super::prepared::{Ears, Prepared};
use super::problem::SteerProblem;
use super::step::{Change, Step, Value, norm};
use super::tokens::Stand;
use crate::error::InterpretError;
use crate::intervene::{flat, special_tokens};
use std::collections::HashMap;
use tch::{Kind, Tensor};
use untangle_model::{Hook, LanguageModel, ModelError, Pass, Phase};
use untangle_schema::HookPoint;

/// Steers a model; see the module.
#[derive(Debug)]
pub struct Steering<'a> {
    pub(super) dictionaries: &'a [Dictionary<'a>],
    /// Where those write whose features are turned or point a control, by dictionary.
    pub(super) written: Vec<Vec<Part>>,
    /// One for every text of a batch, or one for all.
    pub(super) sets: Vec<Vec<Prepared>>,
    pub(super) ears: Ears,
    /// All points that are visited, with their widths, ascending.
    pub(super) points: Vec<(HookPoint, i64)>,
    /// By token id.
    special: Vec<bool>,
    everywhere: bool,
    control: Option<Control>,
    /// Tokens of every text's prompt.
    prompts: Vec<i64>,
    /// Whether these were said, and are not what a pass of prompts has.
    said: bool,
    /// The steps that are taken in the pass at hand, row by row.
    chosen: Vec<Taken>,
    /// Rows at which a step was taken in the pass at hand.
    steered: Vec<i64>,
    /// By what moves rows alike, by how much; none where by nothing.
    moves: HashMap<AtOnce, Option<Vec<f32>>>,
}

/// Steps, by set and number, that are taken together at a hook point.
type AtOnce = (HookPoint, Vec<(usize, usize)>);

/// Steps as long as those that are asked for, in other directions.
#[derive(Clone, Debug)]
pub enum Control {
    /// Drawn uniformly, by a seed.
    Random(u64),
    /// That of a feature of the first dictionary.
    Along(usize),
}

/// A step at a row of `[batch * seq]`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    pub(super) row: i64,
    pub(super) set: usize,
    pub(super) step: usize,
}

impl<'a> Steering<'a> {
    /// Takes `steps` in every text.
    ///
    /// # Errors
    /// When a feature does not exist or is steered twice alike, a later step leaves nothing of an earlier one, a dictionary does not belong to the model, or what a step
    /// depends on is read after the place that it changes.
    pub fn new(
        model: &LanguageModel,
        dictionaries: &'a [Dictionary<'a>],
        steps: &[Step],
    ) -> Result<Self, InterpretError> {
        Self::by_row(model, dictionaries, &[steps])
    }

    /// Takes steps of its own in every text of a batch of so many; of one set, the same in all.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn by_row(
        model: &LanguageModel,
        dictionaries: &'a [Dictionary<'a>],
        sets: &[&[Step]],
    ) -> Result<Self, InterpretError> {
        let mut ears = Ears { readers: dictionaries.iter().map(|_| None).collect(), probes: Vec::new() };
        let mut prepared = Vec::with_capacity(sets.len());
        for steps in sets {
            let repeated = |later: &Step, at: usize| steps[..at].iter().find(|step| step.repeats(later));
            let twice = steps.iter().enumerate().find_map(|(at, later)| Some((repeated(later, at)?, later)));
            if let Some((first, second)) = twice
                && let Change::Feature { feature, .. } = first.change
            {
                let (first, second) = (first.in_words(), second.in_words());
                return Err(SteerProblem::Twice { feature, first, second }.into());
            }
            let undone = |at: &usize| steps[*at + 1..].iter().find(|later| steps[*at].is_undone_by(later));
            if let Some((step, later)) = (0..steps.len()).find_map(|at| Some((&steps[at], undone(&at)?))) {
                return Err(SteerProblem::Undone { step: step.in_words(), later: later.in_words() }.into());
            }
            let all = steps.iter().map(|step| Prepared::new(step, model, dictionaries, &mut ears));
            prepared.push(all.collect::<Result<Vec<_>, _>>()?);
        }
        let written = prepared.iter().flatten().flat_map(|step| step.parts.iter().map(|part| part.point));
        let mut points: Vec<HookPoint> = written.chain(ears.points()).collect();
        points.sort_unstable();
        points.dedup();
        let points = points.into_iter().map(|point| Ok((point, model.width_of(point)? as i64)));
        Ok(Self {
            dictionaries,
            written: dictionaries.iter().map(|dictionary| dictionary.writes(model)).collect::<Result<_, _>>()?,
            sets: prepared,
            points: points.collect::<Result<_, InterpretError>>()?,
            ears,
            special: special_tokens(model),
            everywhere: false,
            control: None,
            prompts: Vec::new(),
            said: false,
            chosen: Vec::new(),
            steered: Vec::new(),
            moves: HashMap::new(),
        })
    }

    /// The same at all tokens that are not special, whichever the steps are for; conditions hold on.
    #[must_use]
    pub fn everywhere(self) -> Self {
        Self { everywhere: true, ..self }
    }

    /// For texts whose prompts have these numbers of tokens, where they have passed before, pass in pieces, or pass together with
    /// what was written behind them.
    #[must_use]
    pub fn behind(self, prompts: &[usize]) -> Self {
        Self { prompts: prompts.iter().map(|tokens| *tokens as i64).collect(), said: true, ..self }
    }

    /// Steps as long, in other directions.
    #[must_use]
    pub fn as_control(self, control: Control) -> Self {
        Self { control: Some(control), ..self }
    }

    /// Tokens of the last pass at which a step was taken, whether or not it changed anything.
    pub fn steered(&self) -> usize {
        self.steered.len()
    }

    /// Says which steps are taken at which tokens, conditions aside, and what has to be heard for them.
    fn begin(&mut self, pass: &Pass<'_>) -> Result<(), InterpretError> {
        let (batch, seq) = pass.tokens.size2().map_err(InterpretError::torch("reading the size of a batch"))?;
        let sets = self.sets.len();
        if sets != 1 && sets as i64 != batch {
            return Err(SteerProblem::OtherBatch { sets, batch }.into());
        }
        let tokens: Vec<i64> = flat(pass.tokens)?;
        let places: Vec<i64> = flat(&pass.places.expand([batch, seq], false))?;
        let real: Option<Vec<bool>> = pass.mask.map(flat).transpose()?;
        let is_real = |row: usize| real.as_ref().is_none_or(|real| real[row]);
        let rows_of = |text: usize| text * seq as usize..(text + 1) * seq as usize;
        if pass.phase == Phase::Prompt && !self.said {
            let length = |text| rows_of(text).filter(|row| is_real(*row)).map(|row| places[row] + 1).max().unwrap_or(0);
            self.prompts = (0..batch as usize).map(length).collect();
        }
        self.chosen.clear();
        self.steered.clear();
        for text in 0..batch as usize {
            let set = if sets == 1 { 0 } else { text };
            for row in rows_of(text).filter(|row| is_real(*row)) {
                if self.special.get(tokens[row] as usize).copied().unwrap_or(false) {
                    continue;
                }
                let prompt = self.prompts.get(text).copied().unwrap_or(0);
                let phase = match self.said {
                    true if places[row] < prompt => Phase::Prompt,
                    true => Phase::Generated,
                    false => pass.phase,
                };
                let stand = Stand { token: tokens[row], place: places[row], prompt, phase };
                let takes = |step: &Prepared| self.everywhere || step.step.tokens.take(stand);
                let steps = self.sets[set].iter().enumerate().filter(|(_, step)| takes(step));
                self.chosen.extend(steps.map(|(step, _)| Taken { row: row as i64, set, step }));
            }
        }
        self.listen();
        Ok(())
    }

    /// Tells readers and probes which rows they have to hear.
    fn listen(&mut self) {
        let Self { sets, ears, chosen, .. } = self;
        ears.readers.iter_mut().flatten().for_each(|reader| reader.rows.clear());
        ears.probes.iter_mut().for_each(|probe| probe.rows.clear());
        let add = |rows: &mut Vec<i64>, row: i64| {
            if rows.last() != Some(&row) {
                rows.push(row);
            }
        };
        for taken in chosen {
            let step = &sets[taken.set][taken.step];
            for reader in &step.readers {
                ears.readers[*reader].iter_mut().for_each(|reader| add(&mut reader.rows, taken.row));
            }
            for probe in step.probes.iter().flatten() {
                add(&mut ears.probes[*probe].rows, taken.row);
            }
        }
    }

    fn hear(&mut self, point: HookPoint, all: &Tensor) -> Result<(), InterpretError> {
        for (reader, dictionary) in self.ears.readers.iter_mut().zip(self.dictionaries) {
            if let Some(reader) = reader {
                reader.hear(point, all, dictionary.sae())?;
            }
        }
        self.ears.probes.iter_mut().filter(|probe| probe.direction.point == point).try_for_each(|probe| probe.hear(all))
    }

    /// Whether the conditions of a step hold at its row.
    fn holds(&self, taken: Taken) -> bool {
        let step = &self.sets[taken.set][taken.step];
        step.step.tests.iter().zip(&step.probes).all(|(test, probe)| {
            let (value, norm) = match (&test.value, probe) {
                (Value::Activation { dictionary, feature }, _) => {
                    let reader = self.ears.readers[*dictionary].as_ref().expect("its condition has it read");
                    (reader.activation(taken.row, *feature), 1.0)
                }
                (Value::Along(_), probe) => {
                    self.ears.probes[probe.expect("every direction has a probe")].found(taken.row)
                }
            };
            test.sign.holds(value, if test.of_norm { test.limit * norm } else { test.limit })
        })
    }

    fn change(&mut self, point: HookPoint, acts: Tensor, all: &Tensor) -> Result<Tensor, InterpretError> {
        let is_here = |taken: &&Taken| self.sets[taken.set][taken.step].part_at(point).is_some();
        let taken: Vec<Taken> =
            self.chosen.iter().filter(is_here).copied().filter(|taken| self.holds(*taken)).collect();
        if taken.is_empty() {
            return Ok(acts);
        }
        let by_row: Vec<&[Taken]> = taken.chunk_by(|a, b| a.row == b.row).collect();
        let rows: Vec<i64> = by_row.iter().map(|taken| taken[0].row).collect();
        self.steered = merged(&self.steered, &rows);
        let is_plain = |taken: &Taken| self.sets[taken.set][taken.step].is_plain;
        let changed = match self.control.is_none() && taken.iter().all(is_plain) {
            true => self.shift(point, &by_row, all)?,
            false => self.rewrite(point, &by_row, &rows, all)?,
        };
        let Some((rows, changed)) = changed else { return Ok(acts) };
        if rows.len() as i64 == all.size()[0] {
            return Ok(changed.reshape(acts.size()));
        }
        let rows = Tensor::from_slice(&rows).to_device(all.device());
        Ok(all.index_copy(0, &rows, &changed).reshape(acts.size()))
    }

    /// Moves rows where they are by steps that do not depend on them; which rows, and what becomes of them.
    fn shift(
        &mut self,
        point: HookPoint,
        by_row: &[&[Taken]],
        all: &Tensor,
    ) -> Result<Option<(Vec<i64>, Tensor)>, InterpretError> {
        let d = all.size()[1];
        let (mut steps, mut numbers) = (Vec::new(), HashMap::new());
        let (mut rows, mut which) = (Vec::new(), Vec::new());
        for taken in by_row {
            let key = (point, taken.iter().map(|taken| (taken.set, taken.step)).collect::<Vec<_>>());
            if !self.moves.contains_key(&key) {
                let (nothing, mut moved) = (vec![0.0; d as usize], vec![0.0; d as usize]);
                let moves = self.move_row(point, taken, &nothing, &mut moved);
                self.moves.insert(key.clone(), moves.then_some(moved));
            }
            if let Some(moved) = &self.moves[&key] {
                let next = numbers.len() as i64;
                let number = *numbers.entry(key.1).or_insert_with(|| {
                    steps.extend_from_slice(moved);
                    next
                });
                rows.push(taken[0].row);
                which.push(number);
            }
        }
        if rows.is_empty() {
            return Ok(None);
        }
        let steps = Tensor::from_slice(&steps).view([-1, d]).to_device(all.device()); // [n, d]
        let steps = match numbers.len() {
            1 => steps,
            _ => steps.index_select(0, &Tensor::from_slice(&which).to_device(all.device())), // [rows, d]
        };
        let moved = (some_rows(all, &rows).to_kind(Kind::Float) + steps).to_kind(all.kind());
        Ok(Some((rows, moved)))
    }

    /// Moves rows on the host, where the dictionaries are; which rows, and what becomes of them.
    fn rewrite(
        &self,
        point: HookPoint,
        by_row: &[&[Taken]],
        rows: &[i64],
        all: &Tensor,
    ) -> Result<Option<(Vec<i64>, Tensor)>, InterpretError> {
        let d = all.size()[1] as usize;
        let mut host = on_host(all, rows)?; // [rows, d]
        let control = self.control.as_ref().map(|control| self.other_direction(control, point, d));
        let (mut moved, mut any) = (vec![0.0; d], false);
        for (row, taken) in host.chunks_exact_mut(d).zip(by_row) {
            if !self.move_row(point, taken, row, &mut moved) {
                continue;
            }
            any = true;
            match &control {
                None => row.iter_mut().zip(&moved).for_each(|(x, by)| *x += by),
                Some(unit) => {
                    let length = norm(&moved) as f32;
                    row.iter_mut().zip(unit).for_each(|(x, u)| *x += length * u);
                }
            }
        }
        let changed = || Tensor::from_slice(&host).view([-1, d as i64]).to_kind(all.kind()).to_device(all.device());
        Ok(any.then(|| (rows.to_vec(), changed())))
    }
}

/// Both lists of ascending numbers as one.
fn merged(a: &[i64], b: &[i64]) -> Vec<i64> {
    if a.is_empty() {
        return b.to_vec();
    }
    let mut all = [a, b].concat();
    all.sort_unstable();
    all.dedup();
    all
}

impl Hook for Steering<'_> {
    fn wants(&self, point: HookPoint) -> bool {
        self.points.iter().any(|(own, _)| *own == point)
    }

    fn visit(&mut self, point: HookPoint, pass: &Pass<'_>, acts: Tensor) -> Result<Tensor, ModelError> {
        let visit = || {
            if self.points.first().is_some_and(|(first, _)| *first == point) {
                self.begin(pass)?;
            }
            let width = self.points.iter().find(|(own, _)| *own == point).map_or(-1, |(_, width)| *width);
            let all = acts.reshape([-1, width]); // [batch * seq, d]
            self.hear(point, &all)?;
            self.change(point, acts, &all)
        };
        visit().map_err(|error| ModelError::hook(point, error))
    }
}
