//! The feature pass needs the same memory for a longer store, stops when asked to, and does not depend on the order of
//! what it is asked for.

use crate::planted::{Token, axes, corpus, nobody, noise, store};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use untangle_interpret::extremes::Firing;
use untangle_interpret::kept::Kept;
use untangle_interpret::progress::Progress;
use untangle_interpret::steer::Dictionary;
use untangle_interpret::windows::{Reach, windows};
use untangle_interpret::{Corpus, FeaturesPlan, InterpretError, features};
use untangle_sae::{Codes, Sae};
use untangle_schema::{Event, Observer, Silent, Unit};
use untangle_store::{ActivationSet, HeldOut, RowBlock, StoreError};

const D: usize = 4;

fn row(token: &Token) -> Vec<f32> {
    (0..D as u64).map(|feature| (noise(token.row, feature) % 5) as f32 - 2.0).collect()
}

#[test]
fn windows_come_back_in_the_order_of_the_request() {
    let folder = tempfile::tempdir().expect("a folder");
    let (tokens, sae) = (corpus(300, 50), axes(D));
    let set = store(&folder.path().join("x.h5"), &tokens, D, nobody(), row);
    let mut firings: Vec<(usize, Firing)> = tokens
        .iter()
        .filter(|token| row(token)[1] > 0.0)
        .map(|t| (1, Firing { activation: row(t)[1], row: t.row, document: t.document, position: t.position }))
        .collect();
    firings.sort_by_key(|(_, firing)| noise(firing.row, 9));
    let mut progress = Progress::start(&Silent, "examples", Unit::Examples, 0);
    let reach = Reach { before: 3, after: 2 };
    let whole = Corpus::new(set.clone(), &sae, HeldOut::None).expect("fits");
    let found = windows(&sae, &whole, &mut Kept::default(), &firings, reach, &mut progress).expect("read");
    assert_eq!(
        found,
        windows(&sae, &whole, &mut kept(&folder.path().join("x.db"), &sae, &set), &firings, reach, &mut progress)
            .expect("read")
    );
    assert_eq!(found.len(), firings.len());
    for (window, (_, firing)) in found.iter().zip(&firings) {
        assert_eq!(window.firing, *firing);
        let first = firing.row as usize - window.peak;
        let expected = &tokens[first..first + window.tokens.len()];
        assert_eq!(window.tokens, expected.iter().map(|t| t.token).collect::<Vec<_>>());
        assert_eq!(window.activations, expected.iter().map(|t| row(t)[1].max(0.0)).collect::<Vec<_>>());
        let row = firing.row as usize;
        let alike = |t: &&Token| t.document == firing.document && t.row / 32 == firing.row / 32;
        assert_eq!(window.peak, tokens[..row].iter().rev().take(3).take_while(alike).count());
        let after = tokens[row + 1..].iter().take(2).take_while(alike).count();
        assert_eq!(window.tokens.len(), window.peak + 1 + after, "as far as context and document go");
    }
}

/// The codes of two rows of three, so that some are taken from there and others are not.
fn kept(path: &Path, sae: &Sae, set: &ActivationSet) -> Kept {
    let (mut kept, mut block, mut codes) = (Kept::beside(path), RowBlock::default(), Codes::new());
    for from in (0..set.n_rows()).step_by(3) {
        set.read_rows(from..(from + 2).min(set.n_rows()), &[0], &mut block).expect("read");
        sae.encode(&block.columns[0], &mut codes).expect("fits");
        kept.push(&block, &codes);
    }
    kept
}

/// Asks to stop after some events.
struct Impatient(AtomicUsize);

impl Observer for Impatient {
    fn event(&self, _: Event<'_>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn interrupted(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 3
    }
}

#[test]
fn an_interrupted_pass_leaves_nothing_under_the_final_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let (tokens, sae) = (corpus(300, 50), axes(D));
    let set = store(&folder.path().join("x.h5"), &tokens, D, nobody(), row);
    let corpus = Corpus::new(set, &sae, HeldOut::default()).expect("fits");
    let path = folder.path().join("FEATURES.db");
    let run = |observer: &dyn Observer| {
        features(
            Dictionary { name: "x", ..Dictionary::only(&sae) },
            &corpus,
            None,
            None,
            &FeaturesPlan::default(),
            &path,
            false,
            observer,
        )
    };
    assert!(matches!(run(&Impatient(AtomicUsize::new(0))), Err(InterpretError::Interrupted)));
    assert_eq!(std::fs::read_dir(folder.path()).expect("listed").count(), 1, "the store alone");
    run(&Silent).expect("a second run starts afresh");
    assert!(matches!(run(&Silent), Err(InterpretError::Store(StoreError::Exists { .. }))));
    let names: Vec<_> =
        std::fs::read_dir(folder.path()).expect("listed").map(|e| e.expect("entry").file_name()).collect();
    assert_eq!(names.len(), 2, "the store and the database: {names:?}");
}
