//! How many features are begun together? A budget should end between features, and not within all of a block.

use untangle_endpoint::{Budget, Spent};

/// A feature may cost so much more than the dearest before (chosen).
const RESERVE: f64 = 1.25;

/// Sizes of blocks.
#[derive(Clone, Debug)]
pub(super) struct Blocks {
    /// Features of a block at most.
    most: usize,
    budget: Budget,
    /// What a feature of the dearest block cost, in tokens and in requests; none before one was paid for whole.
    dearest: Option<(f64, f64)>,
}

impl Blocks {
    pub(super) fn new(most: usize, budget: Budget) -> Self {
        Blocks { most, budget, dearest: None }
    }

    /// Features of the next block, where so much was spent: all that a block may have, but of a budget no more than it will probably
    /// hold, and a single one as long as nobody knows what one costs.
    pub(super) fn next(&self, spent: &Spent) -> usize {
        if self.budget == Budget::default() {
            return self.most;
        }
        let Some((tokens, requests)) = self.dearest else { return 1 };
        let holds = |limit: Option<u64>, spent: u64, each: f64| {
            let left = limit.map_or(f64::INFINITY, |limit| limit.saturating_sub(spent) as f64);
            (left / (RESERVE * each.max(1.0))).min(self.most as f64) as usize
        };
        let tokens = holds(self.budget.tokens, spent.tokens(), tokens);
        tokens.min(holds(self.budget.requests, spent.requests, requests)).max(1)
    }

    /// A block of so many features is through; what was spent `before` and `after`. As long as none of a block went all the way, to
    /// judged labels, it says nothing of what others will cost.
    pub(super) fn through(&mut self, features: usize, any_whole: bool, before: &Spent, after: &Spent) {
        if !any_whole {
            return;
        }
        let each = |before: u64, after: u64| (after - before) as f64 / features.max(1) as f64;
        let cost = (each(before.tokens(), after.tokens()), each(before.requests, after.requests));
        // What was answered before says nothing of what others will cost.
        if cost.1 > 0.0 {
            let (tokens, requests) = self.dearest.unwrap_or_default();
            self.dearest = Some((tokens.max(cost.0), requests.max(cost.1)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_begun_with_one_feature_and_spent_on_what_it_holds() {
        let spent = |requests, prompt_tokens| Spent { requests, prompt_tokens, ..Spent::default() };
        assert_eq!(Blocks::new(8, Budget::default()).next(&spent(0, 0)), 8);
        let mut blocks = Blocks::new(8, Budget { tokens: Some(1000), requests: None });
        assert_eq!(blocks.next(&spent(0, 0)), 1);
        blocks.through(1, true, &spent(0, 0), &spent(0, 0));
        assert_eq!(blocks.next(&spent(0, 0)), 1, "what is kept costs nothing and tells nothing");
        blocks.through(1, false, &spent(0, 0), &spent(2, 10));
        assert_eq!(blocks.next(&spent(2, 10)), 1, "one without a label costs less than others");
        blocks.through(1, true, &spent(0, 0), &spent(9, 100));
        assert_eq!(blocks.next(&spent(9, 100)), 7, "900 hold seven at 125");
        blocks.through(7, true, &spent(9, 100), &spent(60, 800));
        assert_eq!((blocks.next(&spent(60, 800)), blocks.next(&spent(90, 990))), (1, 1));
        let mut few = Blocks::new(8, Budget { tokens: None, requests: Some(30) });
        few.through(1, true, &spent(0, 0), &spent(8, 9999));
        assert_eq!(few.next(&spent(8, 9999)), 2);
    }
}
