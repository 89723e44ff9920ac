//! Products of few rows with large weights: what most of generation's time goes into.
//!
//! Of few rows the product is a walk through the weights, which are far larger than the caches, and its time is that of memory.
//! libtorch's libraries are made for many rows: of one row MKL reads 17 GB/s on a processor whose two cores read 70. Here every
//! weight is fetched once for all rows, four weight rows side by side, and the weight rows are divided among the threads.
//!
//! Sums are formed in f32 in an order that depends neither on the threads nor on the other rows, so that a text of a batch of few
//! comes out as it does alone, bit for bit.
#![allow(unsafe_code)]

use rayon::prelude::*;
use std::cell::Cell;
use tch::{Device, Kind, Tensor};

/// Products of more rows are libtorch's: at so many ours take two thirds of its time (measured at GPT-2 small's shape).
const MOST_ROWS: i64 = 16;
/// In bf16 processors have instructions for products of several rows, of which libtorch makes use.
const MOST_ROWS_BF16: i64 = 1;
/// Smaller weights lie in the caches, and their products are libtorch's.
const LEAST_WEIGHTS: i64 = 1 << 19;
/// Partial sums of a dot product.
const LANES: usize = 16;
/// Weight rows that are walked through side by side.
const ABREAST: usize = 4;
/// Parts for each thread, so that one that is held up does not hold up all.
const PARTS: usize = 4;

/// `x` `[.., d_in]` times the transpose of `weight` `[d_out, d_in]`, plus `bias` `[d_out]`: `[.., d_out]`.
pub(crate) fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Tensor {
    match few(x, weight) {
        Some(product) => bias.map_or_else(|| product.shallow_clone(), |bias| &product + bias),
        None => x.linear(weight, bias),
    }
}

/// The product, where it is one of few rows, on the host, that no gradient passes.
fn few(x: &Tensor, weight: &Tensor) -> Option<Tensor> {
    let (mut shape, [d_out, d_in]) = (x.size(), weight.size()[..].try_into().ok()?);
    let n = x.numel() as i64 / d_in.max(1);
    let is_small = n == 0 || n > most_rows(weight) || d_out * d_in < LEAST_WEIGHTS;
    if is_small || shape.last() != Some(&d_in) || !is_plain(x, weight) {
        return None;
    }
    let kind = weight.kind();
    let rows = x.to_kind(Kind::Float).contiguous();
    // SAFETY: the tensor is contiguous and f32, lies on the host, and outlives the slice; nobody writes to it meanwhile.
    let rows: &[f32] = unsafe { std::slice::from_raw_parts(rows.data_ptr() as *const f32, (n * d_in) as usize) };
    let (at, len) = (weight.data_ptr(), (d_out * d_in) as usize);
    let product = match kind {
        // SAFETY: as above; the kind was asked.
        Kind::Float => product(unsafe { std::slice::from_raw_parts(at as *const f32, len) }, rows, d_in as usize),
        // SAFETY: as above; a bf16 is two bytes, aligned as such.
        _ => product(unsafe { std::slice::from_raw_parts(at as *const Bf16, len) }, rows, d_in as usize),
    };
    *shape.last_mut()? = d_out;
    Some(Tensor::from_slice(&product).view(&shape[..]).to_kind(kind))
}

fn most_rows(weight: &Tensor) -> i64 {
    if weight.kind() == Kind::BFloat16 { MOST_ROWS_BF16 } else { MOST_ROWS }
}

fn is_plain(x: &Tensor, weight: &Tensor) -> bool {
    let on_host = [x, weight].into_iter().all(|tensor| tensor.device() == Device::Cpu && !tensor.requires_grad());
    on_host
        && x.kind() == weight.kind()
        && matches!(weight.kind(), Kind::Float | Kind::BFloat16)
        && weight.is_contiguous()
}

/// A number that weights are of.
trait Weight: Copy + Sync {
    fn wide(self) -> f32;
}

impl Weight for f32 {
    #[inline(always)]
    fn wide(self) -> f32 {
        self
    }
}

/// The upper half of an f32.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
struct Bf16(u16);

impl Weight for Bf16 {
    #[inline(always)]
    fn wide(self) -> f32 {
        f32::from_bits(u32::from(self.0) << 16)
    }
}

thread_local! {
    /// How many threads share the products of this thread's pass, in which libtorch has one; 0 outside of such passes.
    static SHARING: Cell<i32> = const { Cell::new(0) };
}

/// A pass of few rows. While it lasts, libtorch's own work is on one thread: what is left to it is small, and its other threads
/// would spin where ours compute.
#[derive(Debug)]
pub(crate) struct FewRows {
    threads: i32,
}

impl FewRows {
    /// Begins a pass of so many rows through a model with this unembedding, if they are few, and it is large and lies on the host.
    pub(crate) fn begin(rows: i64, unembed: &Tensor) -> Option<Self> {
        let threads = tch::get_num_threads();
        let is_large = unembed.numel() as i64 >= LEAST_WEIGHTS && unembed.device() == Device::Cpu;
        if rows > most_rows(unembed) || !is_large || threads <= 1 || SHARING.get() > 0 {
            return None;
        }
        tch::set_num_threads(1);
        SHARING.set(threads);
        Some(Self { threads })
    }
}

impl Drop for FewRows {
    fn drop(&mut self) {
        SHARING.set(0);
        tch::set_num_threads(self.threads);
    }
}

/// `[n, d_out]` of `weights` `[d_out, d]` and `rows` `[n, d]`, by as many threads as libtorch would use here.
fn product<W: Weight>(weights: &[W], rows: &[f32], d: usize) -> Vec<f32> {
    let (n, d_out) = (rows.len() / d, weights.len() / d);
    let threads = usize::try_from(SHARING.get().max(tch::get_num_threads())).unwrap_or(1);
    let threads = threads.min(rayon::current_num_threads());
    if threads <= 1 {
        return part(weights, rows, d);
    }
    let together = d_out.div_ceil(threads * PARTS).next_multiple_of(ABREAST);
    let parts: Vec<Vec<f32>> = weights.par_chunks(together * d).map(|weights| part(weights, rows, d)).collect();
    let mut product = Vec::with_capacity(n * d_out);
    for row in 0..n {
        for part in &parts {
            let width = part.len() / n;
            product.extend_from_slice(&part[row * width..][..width]);
        }
    }
    product
}

/// The product with some of the weights.
fn part<W: Weight>(weights: &[W], rows: &[f32], d: usize) -> Vec<f32> {
    let mut out = vec![0.0; rows.len() / d * (weights.len() / d)];
    pulp::Arch::new().dispatch(Walk { weights, rows, d, out: &mut out });
    out
}

/// The walk through some weights, for pulp to compile for every instruction set. A closure that could be called twice would
/// not be inlined into what it compiles, and so be compiled for the oldest CPU.
struct Walk<'a, W> {
    weights: &'a [W],
    rows: &'a [f32],
    d: usize,
    out: &'a mut [f32],
}

impl<W: Weight> pulp::WithSimd for Walk<'_, W> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) {
        walk(self.weights, self.rows, self.d, self.out);
    }
}

#[inline(always)]
fn walk<W: Weight>(weights: &[W], rows: &[f32], d: usize, out: &mut [f32]) {
    let width = weights.len() / d;
    let mut fours = weights.chunks_exact(ABREAST * d);
    for (at, weights) in fours.by_ref().enumerate() {
        let (low, high) = weights.split_at(2 * d);
        let ([a, b], [c, e]) = (<[&[W]; 2]>::from(low.split_at(d)), <[&[W]; 2]>::from(high.split_at(d)));
        for (x, out) in rows.chunks_exact(d).zip(out.chunks_exact_mut(width)) {
            out[at * ABREAST..][..ABREAST].copy_from_slice(&abreast([a, b, c, e], x));
        }
    }
    let first = width / ABREAST * ABREAST;
    for (at, weights) in fours.remainder().chunks_exact(d).enumerate() {
        for (x, out) in rows.chunks_exact(d).zip(out.chunks_exact_mut(width)) {
            out[first + at] = alone(weights, x);
        }
    }
}

/// Dot products of one row with several weight rows.
#[inline(always)]
fn abreast<W: Weight>([a, b, c, d]: [&[W]; ABREAST], x: &[f32]) -> [f32; ABREAST] {
    let (chunks, rest) = x.as_chunks::<LANES>();
    let [mut of_a, mut of_b, mut of_c, mut of_d] = [[0f32; LANES]; ABREAST];
    let ([a, end_a], [b, end_b]) = (split(a), split(b));
    let ([c, end_c], [d, end_d]) = (split(c), split(d));
    for ((((x, a), b), c), d) in chunks.iter().zip(chunked(a)).zip(chunked(b)).zip(chunked(c)).zip(chunked(d)) {
        add(&mut of_a, a, x);
        add(&mut of_b, b, x);
        add(&mut of_c, c, x);
        add(&mut of_d, d, x);
    }
    [total(of_a, end_a, rest), total(of_b, end_b, rest), total(of_c, end_c, rest), total(of_d, end_d, rest)]
}

/// The same with one. Its sums are formed in the same order.
#[inline(always)]
fn alone<W: Weight>(weights: &[W], x: &[f32]) -> f32 {
    let (chunks, rest) = x.as_chunks::<LANES>();
    let mut sums = [0f32; LANES];
    let [weights, end] = split(weights);
    for (x, weights) in chunks.iter().zip(chunked(weights)) {
        add(&mut sums, weights, x);
    }
    total(sums, end, rest)
}

/// Whole chunks, and what is left.
#[inline(always)]
fn split<W>(weights: &[W]) -> [&[W]; 2] {
    let (whole, rest) = weights.split_at(weights.len() / LANES * LANES);
    [whole, rest]
}

#[inline(always)]
fn chunked<W>(weights: &[W]) -> std::slice::Iter<'_, [W; LANES]> {
    weights.as_chunks::<LANES>().0.iter()
}

#[inline(always)]
fn add<W: Weight>(sums: &mut [f32; LANES], weights: &[W; LANES], x: &[f32; LANES]) {
    for lane in 0..LANES {
        sums[lane] = weights[lane].wide().mul_add(x[lane], sums[lane]);
    }
}

/// The partial sums and what is left of the row, added pairwise.
#[inline(always)]
fn total<W: Weight>(mut sums: [f32; LANES], weights: &[W], x: &[f32]) -> f32 {
    for (lane, (weight, x)) in weights.iter().zip(x).enumerate() {
        sums[lane] = weight.wide().mul_add(*x, sums[lane]);
    }
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            sums[lane] += sums[lane + half];
        }
        half /= 2;
    }
    sums[0]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn random(shape: [i64; 2], kind: Kind) -> Tensor {
        Tensor::randn(shape, (Kind::Float, Device::Cpu)).to_kind(kind)
    }

    /// The largest difference from what f64 gives, in units of the result's root mean square.
    fn error(found: &Tensor, x: &Tensor, weight: &Tensor) -> f64 {
        let exact = x.to_kind(Kind::Double).linear(&weight.to_kind(Kind::Double), None::<&Tensor>);
        let rms = exact.square().mean(Kind::Double).sqrt();
        ((found.to_kind(Kind::Double) - exact).abs().max() / rms).double_value(&[])
    }

    #[test]
    fn few_rows_of_large_weights_are_as_exact_as_libtorch_and_each_as_if_alone() {
        for (kind, bound) in [(Kind::Float, 1e-5), (Kind::BFloat16, 3e-2)] {
            let n = if kind == Kind::Float { 5 } else { MOST_ROWS_BF16 };
            let (weight, x) = (random([1027, 771], kind), random([n, 771], kind));
            let found = few(&x, &weight).expect("few rows of large weights");
            assert_eq!((found.size(), found.kind()), (vec![n, 1027], kind));
            let (own, theirs) = (error(&found, &x, &weight), error(&x.linear(&weight, None::<&Tensor>), &x, &weight));
            assert!(own < bound && own < 2.0 * theirs + 1e-7, "{own} and libtorch {theirs}");
            for row in 0..n {
                let alone = few(&x.narrow(0, row, 1), &weight).expect("one row");
                assert!(alone.equal(&found.narrow(0, row, 1)), "row {row} depends on the others");
            }
            let bias = random([1, 1027], kind).squeeze();
            let shaped = x.view([n, 1, 771]);
            let with = linear(&shaped, &weight, Some(&bias));
            assert_eq!(with.size(), [n, 1, 1027]);
            assert!(with.view([n, 1027]).equal(&(&found + &bias)));
        }
    }

    #[test]
    fn threads_do_not_show() {
        let weights: Vec<f32> = (0..1031 * 700).map(|at| (at % 97) as f32 * 0.01 - 0.4).collect();
        let rows: Vec<f32> = (0..3 * 700).map(|at| (at % 89) as f32 * 0.01 - 0.3).collect();
        let whole = part(&weights, &rows, 700);
        for together in [4, 12, 256] {
            let parts: Vec<Vec<f32>> =
                weights.chunks(together * 700).map(|weights| part(weights, &rows, 700)).collect();
            let width = |part: &Vec<f32>| part.len() / 3;
            let joined: Vec<f32> = (0..3)
                .flat_map(|row| parts.iter().flat_map(move |p| p[row * width(p)..][..width(p)].to_vec()))
                .collect();
            assert!(joined == whole);
        }
        assert!(product(&weights, &rows, 700) == whole);
    }

    #[test]
    fn what_is_not_of_few_rows_or_wants_a_gradient_is_libtorch_s() {
        let large = random([1024, 512], Kind::Float);
        assert!(few(&random([MOST_ROWS, 512], Kind::Float), &large).is_some());
        assert!(few(&random([MOST_ROWS + 1, 512], Kind::Float), &large).is_none());
        assert!(few(&random([1, 512], Kind::Float), &random([1023, 512], Kind::Float)).is_none());
        assert!(few(&random([0, 512], Kind::Float), &large).is_none());
        assert!(few(&random([1, 512], Kind::Float).set_requires_grad(true), &large).is_none());
        assert!(few(&random([1, 512], Kind::BFloat16), &large).is_none());
        assert!(
            few(&random([1, 512], Kind::Float), &random([512, 1024], Kind::Float).tr()).is_none(),
            "not contiguous"
        );
    }

    proptest! {
        #[test]
        fn dots_are_sums_of_products_at_every_length(pairs in proptest::collection::vec((-8i16..8, -8i16..8), 0..200)) {
            // Small integers: every order of summation gives the same, exact result.
            let (a, b): (Vec<f32>, Vec<f32>) = pairs.iter().map(|&(a, b)| (f32::from(a), f32::from(b))).unzip();
            let expected: f32 = a.iter().zip(&b).map(|(a, b)| a * b).sum();
            let narrow: Vec<Bf16> = a.iter().map(|a| Bf16((a.to_bits() >> 16) as u16)).collect();
            prop_assert_eq!(abreast([&a[..], &a, &a, &a], &b), [expected; 4]);
            prop_assert_eq!(alone(&narrow, &b), expected);
        }
    }
}
