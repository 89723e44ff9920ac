//! Gated dictionaries: codes by hand, by either path of the encoder, and SAELens' names on file.

use untangle_sae::kernels::buffer::Buffer;
use untangle_sae::{Activation, Codes, Description, Parts, Sae};

/// Width 1, three features: weights 1, 2 and -1, gate biases -1, 0 and 0, scales 1, e^ln 2 and 1, magnitude biases 0, -5, 0.5.
fn dictionary() -> Sae {
    let description = Description { subtracts_b_dec: true, ..Description::new(1, 3) };
    let activation = Activation::Gated { r_mag: vec![0.0, std::f32::consts::LN_2, 0.0], b_mag: vec![0.0, -5.0, 0.5] };
    let parts = Parts {
        w_skip: None,
        w_enc: Buffer::copy_of(&[1.0, 2.0, -1.0]),
        b_enc: vec![-1.0, 0.0, 0.0],
        w_dec: Buffer::copy_of(&[1.0, 1.0, 1.0]),
        b_dec: vec![0.0],
        activation,
    };
    Sae::new(description, parts).expect("the parts fit")
}

#[test]
fn the_gate_decides_and_the_magnitude_is_its_own() {
    // x = 2: gates 1, 4, -2; magnitudes 2, 2 * 4 - 5 = 3, closed. x = 0.5: gates -0.5, 1, -0.5; the second's magnitude is
    // 2 * 1 - 5 < 0. x = -3: gates -4, -6, 3; the third's magnitude is 3.5.
    let expected: [&[(u32, f32)]; 3] = [&[(0, 2.0), (1, 3.0)], &[], &[(2, 3.5)]];
    // Few rows go one way through the encoder, many the other.
    for repetitions in [1, 20] {
        let rows = [2.0f32, 0.5, -3.0].repeat(repetitions);
        let mut codes = Codes::new();
        dictionary().encode(&rows, &mut codes).expect("rows fit");
        for (row, expected) in (0..rows.len()).zip(expected.iter().cycle()) {
            let (features, activations) = codes.row(row);
            let found: Vec<_> = features.iter().copied().zip(activations.iter().copied()).collect();
            assert_eq!(found.len(), expected.len(), "row {row}: {found:?}");
            let close = |(a, b): (&(u32, f32), &(u32, f32))| a.0 == b.0 && (a.1 - b.1).abs() < 1e-5;
            assert!(found.iter().zip(expected.iter()).all(close), "row {row}: {found:?}");
        }
    }
}

#[test]
fn it_is_saved_under_the_names_of_saelens_and_read_back() {
    let dir = tempfile::tempdir().expect("dir");
    dictionary().save(dir.path()).expect("saves");
    let bytes = std::fs::read(dir.path().join("sae_weights.safetensors")).expect("written");
    let file = safetensors::SafeTensors::deserialize(&bytes).expect("whole");
    let mut names = file.names();
    names.sort_unstable();
    assert_eq!(names, ["W_dec", "W_enc", "b_dec", "b_gate", "b_mag", "r_mag"]);
    let again = Sae::load(dir.path()).expect("loads");
    assert_eq!(again.parts().activation, dictionary().parts().activation);
    assert_eq!(again.parts().b_enc, dictionary().parts().b_enc);
}
