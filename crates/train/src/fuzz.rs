//! Doors for fuzz targets and the tests of mutated inputs: what is read of bytes that are not to be believed.

use crate::begin::begin_from;
use crate::checkpoint::{CHECKSUM, checksum_of, parse, save};
use crate::config::{TrainConfig, Width};
use crate::job::{EngineKind, Run};
use crate::log::{Log, Mark};
use crate::provenance::DataProvenance;
use crate::together::Engines;
use crate::widths::Widths;
use safetensors::SafeTensors;
use serde_json::Value;
use std::fs;
use std::path::Path;
use untangle_store::RowBlock;

/// Width of the activations of [`runs`].
const D_IN: usize = 4;
/// Rows of a step.
const BATCH: usize = 8;

/// One small run of every form that a checkpoint has: of top-k, of what has parameters beside (and an average), of a
/// transcoder with a skip connection, of a crosscoder, and two dictionaries in one file.
pub fn runs() -> Vec<Vec<Run>> {
    let run = |name: &str, kind: &str, ema: Option<f64>| {
        let kind = kind.parse().expect("an architecture");
        let config = TrainConfig { kind, width: Width::Features(8), k: 2, batch: BATCH, ema, ..TrainConfig::default() };
        let (parts, transcodes) = (if config.kind.is_crosscoder() { 2 } else { 1 }, config.kind.is_transcoder());
        let widths = Widths { read: vec![D_IN; parts], predicted: transcodes.then_some(D_IN) };
        let plan = config.plan_of(&widths, 1000).expect("a plan that can be");
        let (further, target) = ((1..parts).collect(), transcodes.then_some(1));
        Run { name: name.to_owned(), column: 0, further, target, plan, data: made_up() }
    };
    vec![
        vec![run("", "topk", None)],
        vec![run("", "jump-relu", Some(0.9))],
        vec![run("", "skip-transcoder", None)],
        vec![run("", "crosscoder", None)],
        vec![run("a", "batch-topk", None), run("b", "gated", None)],
    ]
}

fn made_up() -> DataProvenance {
    DataProvenance {
        stores: Vec::new(),
        content: String::new(),
        column: "x".to_owned(),
        column_out: None,
        parts: Vec::new(),
        unpaired: Vec::new(),
        held_out: Value::Null,
        calibration: Value::Null,
        keep_special: true,
        keep_outliers: true,
        order_seed: 0,
        shuffle_bytes: 0,
        rows_per_epoch: 1000,
        capture: None,
    }
}

/// Rows of two columns, no two alike.
fn rows() -> Vec<Vec<f32>> {
    let column = |of: usize| (0..BATCH * D_IN).map(|at| ((at * 7 + of * 5) % 13) as f32 / 4.0 - 1.0).collect();
    vec![column(0), column(1)]
}

/// The checkpoint that these runs save in `folder` before their first step.
pub fn saved(runs: &[Run], folder: &Path) -> Vec<u8> {
    let log = |run: &Run| Log::open(&folder.join(format!("log{}", run.name)), None, Mark::default());
    let logs: Vec<Log> = runs.iter().map(|run| log(run).expect("a log")).collect();
    let path = folder.join("checkpoint");
    save(runs, &begin_from(runs, &rows()), &logs, &path).expect("saved");
    fs::read(path).expect("there")
}

/// The same file with the checksum that its tensors have now; none where it is no file of tensors that has one.
pub fn sealed(mut bytes: Vec<u8>) -> Option<Vec<u8>> {
    let sum = checksum_of(&SafeTensors::deserialize(&bytes).ok()?);
    let key = format!("\"{CHECKSUM}\":\"");
    let at = bytes.windows(key.len()).position(|window| window == key.as_bytes())? + key.len();
    bytes.get_mut(at..at + sum.len())?.copy_from_slice(sum.as_bytes());
    Some(bytes)
}

/// Goes on from a checkpoint of these runs: says whether there was one to go on from, and does a step.
pub fn go_on(runs: &[Run], bytes: &[u8]) -> bool {
    let Ok(restored) = parse(runs, Path::new("checkpoint"), bytes) else { return false };
    let mut trained: Vec<_> = restored.into_iter().map(|(trained, _)| trained).collect();
    let block = RowBlock { columns: rows(), rows: (0..BATCH as u64).collect(), ..RowBlock::default() };
    if trained.iter().all(|trained| trained.state.step < runs[0].plan.schedule.steps) {
        let Ok(mut engines) = Engines::of(EngineKind::Native, &trained) else { return true };
        let _ = engines.step(runs, &block, &mut trained);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::LazyLock;

    static SAVED: LazyLock<Vec<(Vec<Run>, Vec<u8>)>> = LazyLock::new(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let saved = |runs: Vec<Run>| {
            let bytes = saved(&runs, folder.path());
            (runs, bytes)
        };
        runs().into_iter().map(saved).collect()
    });

    #[test]
    fn what_was_saved_is_gone_on_from_and_no_other_byte() {
        for (runs, bytes) in SAVED.iter() {
            assert!(go_on(runs, bytes), "{}", runs[0].plan.summary());
            assert_eq!(sealed(bytes.clone()).as_ref(), Some(bytes));
            let mut damaged = bytes.clone();
            *damaged.last_mut().expect("not empty") ^= 1;
            assert!(!go_on(runs, &damaged));
            assert!(go_on(runs, &sealed(damaged).expect("tensors")), "{}", runs[0].plan.summary());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]

        /// Whatever stands in a checkpoint that has its checksum, it is refused or gone on from.
        #[test]
        fn no_checkpoint_makes_training_panic(
            which in any::<prop::sample::Index>(),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
            cut in prop::option::weighted(0.1, any::<prop::sample::Index>()),
        ) {
            let (runs, bytes) = which.get(&SAVED);
            let mut bytes = bytes.clone();
            changes.into_iter().for_each(|(at, byte)| *at.get_mut(&mut bytes) = byte);
            bytes.truncate(cut.map_or(bytes.len(), |cut| cut.index(bytes.len())));
            go_on(runs, &bytes);
            if let Some(bytes) = sealed(bytes) {
                go_on(runs, &bytes);
            }
        }

        /// Whatever a grid says, it is refused or expanded.
        #[test]
        fn no_grid_makes_reading_panic(
            at in any::<prop::sample::Index>(), byte in any::<u8>(), fill in prop::sample::select(vec!["[]", "-1", "1e999", "nan", "''", "[1, [2]]", "18446744073709551615"]),
        ) {
            let grid = format!("[[sae]]\narch = ['topk', 'gated']\nk = [2, 4]\nl0 = 3.0\nlr = {fill}\nprefixes = '2,4'\n");
            let mut grid = grid.into_bytes();
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join("grid.toml");
            for _ in 0..2 {
                fs::write(&path, &grid).expect("written");
                let _ = crate::grid::read(&path, &TrainConfig::default(), None);
                *at.get_mut(&mut grid) = byte;
            }
        }
    }
}
