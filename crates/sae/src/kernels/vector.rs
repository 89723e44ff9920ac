//! Dot products and scaled sums over rows of f32.
//!
//! Plain loops, which the compiler turns into vector code where they are inlined into [`dispatch`]: that runs them as
//! compiled for the best instruction set of this machine. Called outside of it they are compiled for the oldest supported
//! CPU: right, but slow. The order of summation is fixed, so a result does not depend on threads or neighbours.

/// Runs `work` as compiled for the best instruction set that this CPU has (AVX-512, AVX2 with FMA, NEON, else the oldest
/// supported). `work` and what it calls take part where they are `#[inline(always)]`, the closure itself included; the rest
/// would be called as compiled for the oldest CPU, with a library call for every fused multiply-add. Worth it from a
/// microsecond of work on.
#[inline(always)]
pub fn dispatch<R>(work: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(work)
}

const LANES: usize = 16;
const UNROLL: usize = 4;

/// `sum a_i b_i`, in 64 interleaved partial sums that are added pairwise.
#[inline(always)]
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [[0f32; LANES]; UNROLL];
    let (mut wide_a, mut wide_b) = (a.chunks_exact(LANES * UNROLL), b.chunks_exact(LANES * UNROLL));
    for (a, b) in wide_a.by_ref().zip(wide_b.by_ref()) {
        for u in 0..UNROLL {
            for l in 0..LANES {
                sums[u][l] = a[u * LANES + l].mul_add(b[u * LANES + l], sums[u][l]);
            }
        }
    }
    let (mut narrow_a, mut narrow_b) = (wide_a.remainder().chunks_exact(LANES), wide_b.remainder().chunks_exact(LANES));
    for (a, b) in narrow_a.by_ref().zip(narrow_b.by_ref()) {
        for l in 0..LANES {
            sums[0][l] = a[l].mul_add(b[l], sums[0][l]);
        }
    }
    for (l, (a, b)) in narrow_a.remainder().iter().zip(narrow_b.remainder()).enumerate() {
        sums[1][l] = a.mul_add(*b, sums[1][l]);
    }
    let mut total = [0f32; LANES];
    for l in 0..LANES {
        total[l] = (sums[0][l] + sums[1][l]) + (sums[2][l] + sums[3][l]);
    }
    let mut half = LANES / 2;
    while half > 0 {
        for l in 0..half {
            total[l] += total[l + half];
        }
        half /= 2;
    }
    total[0]
}

/// `y += a x`.
#[inline(always)]
pub fn axpy(y: &mut [f32], a: f32, x: &[f32]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y = a.mul_add(*x, *y);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn dot_is_the_sum_of_products_at_every_length(
            pairs in proptest::collection::vec((-8i16..8, -8i16..8), 0..300),
        ) {
            // Small integers: every order of summation gives the same, exact result.
            let (a, b): (Vec<f32>, Vec<f32>) = pairs.iter().map(|&(a, b)| (f32::from(a), f32::from(b))).unzip();
            let expected: f32 = a.iter().zip(&b).map(|(a, b)| a * b).sum();
            prop_assert_eq!(dot(&a, &b), expected);
        }
    }

    #[test]
    fn axpy_by_hand() {
        let mut y = [1.0, 2.0, 3.0];
        axpy(&mut y, 2.0, &[1.0, 0.0, -1.0]);
        assert_eq!(y, [3.0, 2.0, 1.0]);
    }
}
