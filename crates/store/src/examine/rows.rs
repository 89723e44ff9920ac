//! Do all rows have their checksums, and are norms and statistics theirs?

use super::{Examiner, Violation};
use crate::checksums::{BLOCK_ROWS, Running};
use crate::element::{Elements, first_not_finite};
use crate::error::StoreError;
use crate::formats::own::column;
use crate::layout::{self, Layout};
use crate::norms;
use crate::packed::Progress;
use crate::statistics::{Accumulator, squared_norms};
use crate::writer::measures;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use untangle_schema::capture::{HookColumn, row_flags};

/// Bytes that are read at a time, about.
const READ_BYTES: u64 = 4 << 20;

/// Reads every row; false where `progress` stopped it. Datasets that were not found as specified are passed over.
pub(super) fn examine(
    examiner: &mut Examiner<'_>,
    layout: &Layout,
    progress: Progress<'_>,
) -> Result<bool, StoreError> {
    let datasets = layout::row_datasets(examiner.manifest);
    let row = datasets.iter().fold(0u64, |sum, dataset| sum.saturating_add(dataset.row_bytes as u64));
    let manifest = examiner.manifest;
    let total = row.saturating_mul(manifest.n_rows);
    let mut reading = Reading { examiner, layout, progress, done: 0, total };
    for dataset in &datasets[..datasets.len() - 2 * manifest.hooks.len()] {
        if !reading.numbers(&dataset.name, dataset.row_bytes)? {
            return Ok(false);
        }
    }
    for hook in manifest.hooks.iter().filter(|hook| hook.d_in > 0) {
        if !reading.column(hook)? {
            return Ok(false);
        }
    }
    Ok(true)
}

struct Reading<'e, 'a, 'p> {
    examiner: &'e mut Examiner<'a>,
    layout: &'e Layout,
    progress: Progress<'p>,
    done: u64,
    total: u64,
}

/// What was found wrong in one dataset: the first place, and how many there are.
#[derive(Default)]
struct Found {
    first: Option<(u64, String)>,
    count: u64,
}

impl Found {
    fn note(&mut self, row: u64, problem: impl FnOnce() -> String) {
        self.count += 1;
        self.first.get_or_insert_with(|| (row, problem()));
    }

    fn report(self, object: &str, examiner: &mut Examiner<'_>) {
        if let Some((row, problem)) = self.first {
            let more = if self.count > 1 { format!(", and {} more rows", self.count - 1) } else { String::new() };
            examiner.contradiction(object, format!("{problem} in row {row}{more}"));
        }
    }
}

impl Reading<'_, '_, '_> {
    /// The stretches of rows that are read at a time.
    fn stretches(&self, row_bytes: usize) -> impl Iterator<Item = Range<u64>> + use<> {
        let n = self.examiner.manifest.n_rows;
        let rows = (READ_BYTES / row_bytes as u64).max(1);
        (0..n).step_by(rows as usize).map(move |first| first..(first + rows).min(n))
    }

    fn advance(&mut self, bytes: usize) -> bool {
        self.done += bytes as u64;
        (self.progress)(self.done, self.total)
    }

    /// A dataset of one number per row.
    fn numbers(&mut self, name: &str, row_bytes: usize) -> Result<bool, StoreError> {
        if self.layout.located(name).is_none() {
            return Ok(true);
        }
        let (mut sums, mut found, mut last) = (Sums::of(self, name)?, Found::default(), 0);
        for rows in self.stretches(row_bytes) {
            let bytes = self.rows(name, row_bytes, &rows)?;
            sums.add(rows.start, &bytes, row_bytes);
            self.look_at_numbers(name, &bytes, rows.start, &mut last, &mut found);
            if !self.advance(bytes.len()) {
                return Ok(false);
            }
        }
        sums.report(name, self.examiner);
        found.report(name, self.examiner);
        Ok(true)
    }

    fn look_at_numbers(&self, name: &str, bytes: &[u8], first: u64, last: &mut u32, found: &mut Found) {
        let manifest = self.examiner.manifest;
        let words = || (first..).zip(bytes.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word)));
        match name {
            layout::DOCUMENTS => {
                for (row, document) in words() {
                    if u64::from(document) >= manifest.n_documents {
                        found.note(row, || format!("document {document} of {}", manifest.n_documents));
                        continue;
                    }
                    if document < *last {
                        found.note(row, || format!("document {document} after document {last}"));
                    }
                    *last = document;
                }
            }
            layout::POSITIONS if manifest.pad => {
                for (row, position) in words() {
                    let next = if row == 0 { 0 } else { u64::from(*last) + 1 };
                    if position != 0 && (u64::from(position) != next || next >= manifest.context as u64) {
                        found.note(row, || format!("position {position} where the context's next is {next}"));
                    }
                    *last = position;
                }
            }
            layout::POSITIONS => {
                for (row, position) in words() {
                    let expected = row % manifest.context.max(1) as u64;
                    if u64::from(position) != expected {
                        found.note(row, || format!("position {position} where contexts have {expected}"));
                    }
                }
            }
            layout::FLAGS => {
                let unknown = (first..).zip(bytes).filter(|(_, flags)| **flags & !row_flags::ANY_SPECIAL != 0);
                unknown.for_each(|(row, flags)| found.note(row, || format!("unknown flags {flags:#04x}")));
            }
            _ => {}
        }
    }

    /// The activations of a hook point, with their norms and statistics.
    fn column(&mut self, hook: &HookColumn) -> Result<bool, StoreError> {
        let (name, norms_name) = (layout::activations(hook.hook), layout::norms(hook.hook));
        if self.layout.located(&name).is_none() {
            return self.numbers(&norms_name, 4);
        }
        let matrix = column(&self.examiner.opened(), self.layout, self.examiner.manifest, hook);
        let row_bytes = hook.d_in * matrix.dtype.size();
        let mut found = Column {
            sums: Sums::of(self, &name)?,
            norm_sums: Sums::of(self, &norms_name)?,
            not_finite: Found::default(),
            other_norm: Found::default(),
            statistics: self.layout.located(layout::FLAGS).map(|_| Accumulator::new(hook.d_in)),
        };
        let (mut elements, mut values) = (Elements::zeros(matrix.dtype, 0), Vec::new());
        for rows in self.stretches(row_bytes) {
            elements.resize((rows.end - rows.start) as usize * hook.d_in);
            match matrix.read(rows.clone(), &mut elements, 0) {
                // A compressed chunk that does not unpack: the rows behind it are not looked at.
                Err(error @ StoreError::Unreadable { .. }) => {
                    self.examiner.contradiction(&name, format!("rows {} to {}: {error}", rows.start, rows.end - 1));
                    return Ok(true);
                }
                read => read?,
            }
            found.sums.add(rows.start, elements.bytes(0..elements.len()), row_bytes);
            values.clear();
            elements.append_f32(0..elements.len(), &mut values);
            self.look_at_values(hook, &rows, &values, &mut found)?;
            if !self.advance((rows.end - rows.start) as usize * (row_bytes + 4)) {
                return Ok(false);
            }
        }
        self.report(hook, found)?;
        Ok(true)
    }

    fn look_at_values(
        &self,
        hook: &HookColumn,
        rows: &Range<u64>,
        values: &[f32],
        found: &mut Column,
    ) -> Result<(), StoreError> {
        if first_not_finite(values).is_some() {
            let each = (rows.start..).zip(values.chunks_exact(hook.d_in));
            each.filter(|(_, x)| x.iter().any(|x| !x.is_finite()))
                .for_each(|(row, _)| found.not_finite.note(row, || "a value that is not finite".to_owned()));
        }
        let squares = squared_norms(values, hook.d_in);
        let norms_name = layout::norms(hook.hook);
        if self.layout.located(&norms_name).is_some() {
            let bytes = self.rows(&norms_name, 4, rows)?;
            found.norm_sums.add(rows.start, &bytes, 4);
            let stored = bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
            for ((row, stored), norm) in (rows.start..).zip(stored).zip(squares.iter().map(|s| norms::stored(*s))) {
                if stored.to_bits() != norm.to_bits() {
                    found.other_norm.note(row, || format!("{stored} where the norm of the values is {norm}"));
                }
            }
        }
        if let Some(statistics) = &mut found.statistics {
            statistics.add(values, &self.rows(layout::FLAGS, 1, rows)?, &squares);
        }
        Ok(())
    }

    fn report(&mut self, hook: &HookColumn, found: Column) -> Result<(), StoreError> {
        let (name, norms_name) = (layout::activations(hook.hook), layout::norms(hook.hook));
        let damaged = found.sums.report(&name, self.examiner);
        found.norm_sums.report(&norms_name, self.examiner);
        let bad = damaged || found.not_finite.count > 0;
        found.not_finite.report(&name, self.examiner);
        if bad {
            // Of rows that are damaged themselves, norms and statistics say nothing new.
            return Ok(());
        }
        found.other_norm.report(&norms_name, self.examiner);
        let Some(statistics) = found.statistics else { return Ok(()) };
        for (name, expected) in layout::statistics_of(hook.hook).iter().zip(measures(&statistics.finish())) {
            if self.examiner.small(self.layout, name)?.is_some_and(|stored| stored != expected) {
                self.examiner.contradiction(name, "is not what the rows give");
            }
        }
        Ok(())
    }

    /// The bytes of rows of a contiguous dataset.
    fn rows(&self, name: &str, row_bytes: usize, rows: &Range<u64>) -> Result<Vec<u8>, StoreError> {
        let mut bytes = vec![0; (rows.end - rows.start) as usize * row_bytes];
        let offset = self.layout.extent(name).offset + rows.start * row_bytes as u64;
        self.examiner.file.read_exact_at(&mut bytes, offset).map_err(StoreError::io(self.examiner.path))?;
        Ok(bytes)
    }
}

/// What is known of a hook point's rows so far.
struct Column {
    sums: Sums,
    norm_sums: Sums,
    not_finite: Found,
    other_norm: Found,
    /// None without flags, which say what is ordinary.
    statistics: Option<Accumulator>,
}

/// The stored checksums of a dataset, and which blocks do not have theirs.
struct Sums {
    stored: Vec<u32>,
    running: Running,
    damaged: Vec<u64>,
    n: u64,
}

impl Sums {
    fn of(reading: &Reading<'_, '_, '_>, name: &str) -> Result<Self, StoreError> {
        let stored = reading.examiner.small(reading.layout, &layout::checksums(name))?.unwrap_or_default();
        let stored = stored.as_chunks::<4>().0.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect();
        let n = reading.examiner.manifest.n_rows;
        Ok(Sums { stored, running: Running::default(), damaged: Vec::new(), n })
    }

    /// Adds rows that begin with row `first`, up to the last one.
    fn add(&mut self, first: u64, bytes: &[u8], row_bytes: usize) {
        let mut complete = self.running.add(first, bytes, row_bytes);
        let end = first + (bytes.len() / row_bytes) as u64;
        if end == self.n && !end.is_multiple_of(BLOCK_ROWS) {
            complete.push(self.running.crc());
        }
        for (block, found) in (first / BLOCK_ROWS..).zip(complete) {
            if self.stored.get(block as usize).is_some_and(|stored| *stored != found) {
                self.damaged.push(block);
            }
        }
    }

    /// Says which rows are damaged; whether any are.
    fn report(self, object: &str, examiner: &mut Examiner<'_>) -> bool {
        const SHOWN: usize = 8;
        let runs: Vec<&[u64]> = self.damaged.chunk_by(|a, b| a + 1 == *b).collect();
        let run = |blocks: &&[u64]| {
            let (first, last) = (blocks[0] * BLOCK_ROWS, (blocks[blocks.len() - 1] + 1) * BLOCK_ROWS);
            format!("{first} to {}", last.min(self.n) - 1)
        };
        let shown = runs.iter().take(SHOWN).map(run).collect::<Vec<_>>().join(", ");
        let more = if runs.len() > SHOWN { format!(" and {} more places", runs.len() - SHOWN) } else { String::new() };
        if !runs.is_empty() {
            let place = format!("rows {shown}{more}");
            examiner.violations.push(Violation::Checksum { object: object.to_owned(), place });
        }
        !runs.is_empty()
    }
}
