//! The update does not care where gradients come from.

use super::{D_SAE, DEAD_AFTER, HELD, ROWS, Rows, architectures, state};
use untangle_train::activity::{Activity, Scratches};
use untangle_train::adam::Adam;
use untangle_train::aux_k::aux_gradients;
use untangle_train::forward::forward;
use untangle_train::gather::Firings;
use untangle_train::gradients::{Gradients, OtherGradients, WholeGradients, norm};
use untangle_train::state::Parameter;
use untangle_train::update::{Movement, update};

#[test]
fn gradients_that_were_written_down_first_move_the_weights_to_the_same_bits() {
    for architecture in architectures() {
        let start = || {
            let mut state = state(&architecture, 4);
            let (mut activity, mut firings, scratch) = (Activity::default(), Firings::default(), Scratches::default());
            let rows = Rows::of(&architecture, 1, ROWS, 1.0);
            activity.dead = state.dead(DEAD_AFTER);
            let dense = forward(&mut state, &architecture, &rows.batch(), &scratch, &mut activity).expect("forward");
            firings.rebuild(D_SAE, &activity.tiles, state.extras.len());
            (state, activity, firings, dense)
        };
        let moved = |whole: bool| {
            let (mut state, activity, firings, dense) = start();
            let aux = aux_gradients(&state, &architecture, &activity, 1.0).expect("aux");
            let (backward, norms) =
                (activity.backward(&firings, dense.as_ref()), architecture.norm_penalty(&state, ROWS));
            let gradients = Gradients { backward, aux: aux.as_ref(), norms, held: &HELD };
            let mut others = OtherGradients::default();
            gradients.others(&state, &architecture, &mut others).expect("others");
            let (scale, adam) = (1.0 / norm(&state, &gradients, &others) as f32, Adam::at(1, 0.01));
            if whole {
                let gradients = WholeGradients::of(&state, &gradients);
                update(&mut state, &Movement { gradients: &gradients, scale, adam, held: &HELD }, &mut others);
            } else {
                update(&mut state, &Movement { gradients: &gradients, scale, adam, held: &HELD }, &mut others);
            }
            let bits = |(_, p): (&str, &Parameter)| p.value.iter().map(|w| w.to_bits()).collect::<Vec<_>>();
            state.parameters().into_iter().map(bits).collect::<Vec<_>>()
        };
        assert!(moved(true) == moved(false), "{}", architecture.name());
    }
}
