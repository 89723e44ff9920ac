//! By how much do steps move a token's activation?

use super::dictionary::Part;
use super::prepared::Prepared;
use super::steering::{Control, Steering, Taken};
use super::step::{Change, norm};
use crate::hash::Numbers;
use untangle_schema::HookPoint;

impl Steering<'_> {
    /// By how much the steps at a row, `taken`, move it in all; whether by anything.
    pub(super) fn move_row(&self, point: HookPoint, taken: &[Taken], row: &[f32], moved: &mut [f32]) -> bool {
        moved.fill(0.0);
        let mut any = self.turn_features(point, taken, row, moved);
        for taken in taken {
            let step = &self.sets[taken.set][taken.step];
            let (Change::Along { directions, operator }, Some((number, _))) = (&step.step.change, step.part_at(point))
            else {
                continue;
            };
            let amount = |v: f32| if step.step.of_norm { v * norm(row) as f32 } else { v };
            any |= operator.push(&directions[number], number, row, moved, amount);
        }
        any
    }

    /// The features' part of it.
    fn turn_features(&self, point: HookPoint, taken: &[Taken], row: &[f32], moved: &mut [f32]) -> bool {
        // Of every feature that is turned: its dictionary and number, what it was where that is asked for, and by how much it changes.
        let mut turned: Vec<(usize, usize, Option<f32>, f32)> = Vec::new();
        for taken in taken {
            let Prepared { step, .. } = &self.sets[taken.set][taken.step];
            let Change::Feature { dictionary, feature, operator } = step.change else { continue };
            let reader = self.ears.readers[dictionary].as_ref();
            let operator = match step.of_norm {
                false => operator,
                true => {
                    let length =
                        f64::from(self.scale(dictionary, taken.row)) * norm(self.written(dictionary, feature, point));
                    let times = if length > 0.0 { norm(row) / length } else { 0.0 };
                    operator.with_value((f64::from(operator.value()) * times) as f32)
                }
            };
            let known = turned.iter().position(|(d, f, ..)| (*d, *f) == (dictionary, feature));
            let at = known.unwrap_or_else(|| {
                turned.push((dictionary, feature, None, 0.0));
                turned.len() - 1
            });
            let (.., f, change) = &mut turned[at];
            // What is there: what was read, and what earlier steps made of it.
            let there = match operator.reads() {
                true => {
                    *change
                        + *f.get_or_insert_with(|| reader.map_or(0.0, |reader| reader.activation(taken.row, feature)))
                }
                false => *change,
            };
            *change += operator.change(there);
        }
        // The order in which features are named does not show in the last bit of a sum.
        turned.sort_by_key(|(dictionary, feature, ..)| (*dictionary, *feature));
        turned.retain(|(.., change)| *change != 0.0);
        for (dictionary, feature, _, change) in &turned {
            let change = change * self.scale(*dictionary, taken[0].row);
            let direction = self.written(*dictionary, *feature, point);
            moved.iter_mut().zip(direction).for_each(|(moved, d)| *moved += change * d);
        }
        !turned.is_empty()
    }

    /// The scale of a dictionary's features on a row of the pass.
    fn scale(&self, dictionary: usize, row: i64) -> f32 {
        let sae = self.dictionaries[dictionary].sae();
        match &self.ears.readers[dictionary] {
            Some(reader) if sae.scales_rows() => sae.scale_of(reader.read(row, sae)),
            _ => 1.0,
        }
    }

    /// What a feature writes at a point.
    fn written(&self, dictionary: usize, feature: usize, point: HookPoint) -> &[f32] {
        let row = self.dictionaries[dictionary].sae().decoder_row(feature);
        let here = self.part_at(dictionary, point);
        here.map_or(&[], |part| &row[part.first..part.first + part.width])
    }

    /// Where a dictionary writes at a point.
    fn part_at(&self, dictionary: usize, point: HookPoint) -> Option<Part> {
        self.written.get(dictionary)?.iter().find(|part| part.point == point).copied()
    }

    /// The direction of a control at a point, `[d]`. Where the first dictionary does not write, there is none of a feature's,
    /// and one is drawn.
    pub(super) fn other_direction(&self, control: &Control, point: HookPoint, d: usize) -> Vec<f32> {
        let seed = match control {
            Control::Along(feature) if self.part_at(0, point).is_some() => {
                return self.written(0, *feature, point).to_vec();
            }
            Control::Along(feature) => *feature as u64,
            Control::Random(seed) => *seed,
        };
        let number = self.points.iter().position(|(own, _)| *own == point).unwrap_or(0) as u64;
        let mut numbers = Numbers::new(seed.wrapping_add(number << 32));
        let drawn: Vec<f64> = (0..d).map(|_| numbers.normal()).collect();
        let norm = drawn.iter().map(|x| x * x).sum::<f64>().sqrt();
        drawn.iter().map(|x| (x / norm) as f32).collect()
    }
}
