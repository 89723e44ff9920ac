//! How is a smooth function of many variables minimised? Limited-memory BFGS (Nocedal 1980; Nocedal and Wright 2006,
//! algorithms 7.4 and 7.5) with a backtracking line search (their algorithm 3.1).
//!
//! The caller evaluates: it asks for a point, and tells the value and the gradient there. So many functions can be
//! minimised side by side with their evaluations done together.

use std::collections::VecDeque;

/// Steps that the curvature is learned from.
const MEMORY: usize = 10;
/// Sufficient decrease, c_1 of Nocedal and Wright.
const ARMIJO: f64 = 1e-4;
/// Rounding of values that are sums in single precision, relative.
const NOISE: f64 = 1e-7;
/// A step that has to be shorter than this means that rounding is all that is left.
const SHORTEST_STEP: f64 = 1e-6;

/// A difference of points, the difference of the gradients there, and one over their product.
struct Pair {
    s: Vec<f64>,
    y: Vec<f64>,
    rho: f64,
}

/// Where a minimisation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// The next trial is to be evaluated.
    Going,
    /// The minimum is reached, to the tolerance or to what rounding allows.
    Converged,
}

/// One function under minimisation.
pub(crate) struct Minimiser {
    x: Vec<f64>,
    f: f64,
    gradient: Vec<f64>,
    direction: Vec<f64>,
    step: f64,
    trial: Vec<f64>,
    memory: VecDeque<Pair>,
    /// Diagonal of the first guess of the inverse Hessian.
    inverse_curvature: Vec<f64>,
    tolerance: f64,
}

impl Minimiser {
    /// Starts at `x`; ends where half the Newton decrement, which estimates how far the value is above its minimum, is
    /// at most `tolerance` times the value (of a function that is nowhere negative), both by the curvature learned and
    /// by the first guess: what was learned from steep steps alone takes a long flat valley for its end.
    pub(crate) fn new(x: Vec<f64>, inverse_curvature: Vec<f64>, tolerance: f64) -> Self {
        Self {
            trial: x.clone(),
            x,
            f: f64::INFINITY,
            gradient: Vec::new(),
            direction: Vec::new(),
            step: 0.0,
            memory: VecDeque::with_capacity(MEMORY),
            inverse_curvature,
            tolerance,
        }
    }

    /// Where the function is to be evaluated next.
    pub(crate) fn trial(&self) -> &[f64] {
        &self.trial
    }

    /// The best point so far.
    pub(crate) fn point(&self) -> &[f64] {
        &self.x
    }

    /// Takes in the value and the gradient at the trial.
    pub(crate) fn tell(&mut self, f: f64, gradient: Vec<f64>) -> Status {
        if self.f.is_finite() {
            let slope = dot(&self.gradient, &self.direction);
            // Written so that a value that is not a number is too high.
            let enough = f <= self.f + ARMIJO * self.step * slope + NOISE * self.f.abs();
            if !enough {
                return self.shorten(f, slope);
            }
            self.remember(&gradient);
        }
        self.f = f;
        self.gradient = gradient;
        self.x.clone_from(&self.trial);
        self.direction = self.descent();
        let guessed = self.gradient.iter().zip(&self.inverse_curvature).map(|(g, h)| g * g * h).sum::<f64>();
        let decrement = guessed.max(-dot(&self.gradient, &self.direction));
        if decrement <= 2.0 * self.tolerance * f {
            return Status::Converged;
        }
        self.take_step(1.0);
        Status::Going
    }

    /// Goes back to where the parabola through what is known has its minimum, within a tenth and a half.
    fn shorten(&mut self, f: f64, slope: f64) -> Status {
        let parabola = -slope * self.step * self.step / (2.0 * (f - self.f - slope * self.step));
        let kept = if parabola.is_finite() { parabola / self.step } else { 0.1 };
        let step = self.step * kept.clamp(0.1, 0.5);
        if step < SHORTEST_STEP {
            return Status::Converged;
        }
        self.take_step(step);
        Status::Going
    }

    fn take_step(&mut self, step: f64) {
        self.step = step;
        self.trial = self.x.iter().zip(&self.direction).map(|(x, d)| x + step * d).collect();
    }

    fn remember(&mut self, gradient: &[f64]) {
        let s: Vec<f64> = self.trial.iter().zip(&self.x).map(|(new, old)| new - old).collect();
        let y: Vec<f64> = gradient.iter().zip(&self.gradient).map(|(new, old)| new - old).collect();
        let product = dot(&s, &y);
        // Of a convex function the product is positive; rounding may say otherwise.
        if product > 1e-10 * (dot(&s, &s) * dot(&y, &y)).sqrt() {
            if self.memory.len() == MEMORY {
                self.memory.pop_front();
            }
            self.memory.push_back(Pair { s, y, rho: 1.0 / product });
        }
    }

    /// Minus the inverse Hessian, as far as it is known, times the gradient: the two loops of algorithm 7.4.
    fn descent(&self) -> Vec<f64> {
        let mut q = self.gradient.clone();
        let mut alphas = Vec::with_capacity(self.memory.len());
        for Pair { s, y, rho } in self.memory.iter().rev() {
            let alpha = rho * dot(s, &q);
            q.iter_mut().zip(y).for_each(|(q, y)| *q -= alpha * y);
            alphas.push(alpha);
        }
        let scaled = |y: &[f64]| y.iter().zip(&self.inverse_curvature).map(|(y, h)| y * y * h).sum::<f64>();
        let gamma = self.memory.back().map_or(1.0, |last| 1.0 / (last.rho * scaled(&last.y)));
        q.iter_mut().zip(&self.inverse_curvature).for_each(|(q, h)| *q *= gamma * h);
        for (Pair { s, y, rho }, alpha) in self.memory.iter().zip(alphas.into_iter().rev()) {
            let beta = rho * dot(y, &q);
            q.iter_mut().zip(s).for_each(|(q, s)| *q += (alpha - beta) * s);
        }
        q.iter_mut().for_each(|q| *q = -*q);
        q
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minimise(mut m: Minimiser, function: impl Fn(&[f64]) -> (f64, Vec<f64>)) -> (Vec<f64>, usize) {
        for evaluations in 1..500 {
            let (f, gradient) = function(m.trial());
            if m.tell(f, gradient) == Status::Converged {
                return (m.point().to_vec(), evaluations);
            }
        }
        panic!("not converged");
    }

    #[test]
    fn a_quadratic_with_its_curvature_known_takes_one_step() {
        // f = 1 + sum c_i (x_i - i)^2 / 2
        let curvature = [1.0, 100.0, 0.01];
        let function = |x: &[f64]| {
            let terms = x.iter().zip(curvature).enumerate();
            let f = terms.clone().map(|(i, (x, c))| c * (x - i as f64).powi(2) / 2.0).sum::<f64>();
            (1.0 + f, terms.map(|(i, (x, c))| c * (x - i as f64)).collect())
        };
        let known = Minimiser::new(vec![5.0; 3], curvature.map(|c| 1.0 / c).to_vec(), 1e-12);
        let (x, evaluations) = minimise(known, function);
        assert!(evaluations == 2 && x.iter().zip(0..).all(|(x, i)| (x - f64::from(i)).abs() < 1e-12), "{x:?}");
        let unknown = Minimiser::new(vec![5.0; 3], vec![1.0; 3], 1e-12);
        let (x, evaluations) = minimise(unknown, function);
        assert!(evaluations < 40 && x.iter().zip(0..).all(|(x, i)| (x - f64::from(i)).abs() < 1e-4), "{x:?}");
    }

    #[test]
    fn the_valley_of_rosenbrock_is_followed_to_its_end() {
        let function = |x: &[f64]| {
            let (a, b) = (1.0 - x[0], x[1] - x[0] * x[0]);
            (1e-9 + a * a + 100.0 * b * b, vec![-2.0 * a - 400.0 * x[0] * b, 200.0 * b])
        };
        let (x, evaluations) = minimise(Minimiser::new(vec![-1.2, 1.0], vec![1.0; 2], 1e-3), function);
        assert!(evaluations < 80 && (x[0] - 1.0).abs() < 1e-4 && (x[1] - 1.0).abs() < 1e-4, "{x:?}, {evaluations}");
    }

    #[test]
    fn values_that_are_no_numbers_shorten_the_step() {
        // ln only has values where x > 0: f = x - ln x, minimum 1 at 1.
        let function = |x: &[f64]| (x[0] - x[0].ln(), vec![1.0 - 1.0 / x[0]]);
        let (x, _) = minimise(Minimiser::new(vec![4.0], vec![100.0], 1e-9), function);
        assert!((x[0] - 1.0).abs() < 1e-3, "{x:?}");
    }
}
