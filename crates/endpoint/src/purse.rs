//! What was spent, and may more be?

use crate::error::EndpointError;
use crate::options::Budget;
use crate::reply::Reply;
use serde::Serialize;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Duration;

/// What was spent so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Spent {
    /// Requests that were sent, repeated ones included.
    pub requests: u64,
    /// Answers that came.
    pub answers: u64,
    /// Answers that were there before, for nothing.
    pub kept: u64,
    /// Tokens of prompts, as the endpoint counts them.
    pub prompt_tokens: u64,
    /// Tokens of answers, reasoning included.
    pub answer_tokens: u64,
    /// Answers whose tokens the endpoint did not count, so that they are estimated from their length.
    pub estimated: u64,
    /// Answers that ended at the limit of tokens.
    pub cut: u64,
}

impl Spent {
    /// Tokens of prompts and answers.
    pub fn tokens(&self) -> u64 {
        self.prompt_tokens.saturating_add(self.answer_tokens)
    }

    /// `3 requests, 120 tokens`
    pub(crate) fn in_words(&self) -> String {
        format!("{} requests, {} tokens", self.requests, self.tokens())
    }
}

#[derive(Debug, Default)]
struct State {
    spent: Spent,
    /// Tokens of prompts that are under way.
    under_way: u64,
}

/// Counts, and refuses what the budget does not hold.
#[derive(Debug)]
pub(crate) struct Purse {
    budget: Budget,
    state: Mutex<State>,
    settled: Condvar,
}

impl Purse {
    pub(crate) fn new(budget: Budget) -> Self {
        Purse { budget, state: Mutex::default(), settled: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Counts are whole after every statement, so that those of a thread that panicked can be gone on with.
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    pub(crate) fn spent(&self) -> Spent {
        self.state().spent
    }

    /// Takes what a request with a prompt of about so many tokens costs at least; to be settled afterwards. None where only what others
    /// may cost that are under way stands against it: then there may be room when they are settled.
    pub(crate) fn take(&self, prompt_tokens: u64) -> Result<Option<Taken<'_>>, EndpointError> {
        let over = |limit: Option<u64>, value: u64| limit.is_some_and(|limit| value > limit);
        let mut state = self.state();
        let alone = state.spent.tokens().saturating_add(prompt_tokens);
        if over(self.budget.requests, state.spent.requests + 1) || over(self.budget.tokens, alone) {
            drop(state);
            return Err(self.refusal(prompt_tokens));
        }
        if over(self.budget.tokens, alone.saturating_add(state.under_way)) {
            return Ok(None);
        }
        state.spent.requests += 1;
        state.under_way += prompt_tokens;
        Ok(Some(Taken { purse: self, prompt_tokens, is_settled: false }))
    }

    /// Waits a moment, or until a request is settled.
    pub(crate) fn wait(&self, at_most: Duration) {
        // Whoever waits looks again, whatever ended the waiting.
        drop(self.settled.wait_timeout(self.state(), at_most));
    }

    /// Why a request with a prompt of about so many tokens is not sent, as things stand now.
    pub(crate) fn refusal(&self, prompt_tokens: u64) -> EndpointError {
        let spent = self.spent();
        let of_requests = self.budget.requests.is_some_and(|most| spent.requests >= most);
        let left = self.budget.tokens.map_or(0, |tokens| tokens.saturating_sub(spent.tokens()));
        let what = match (of_requests, left) {
            (true, _) => format!("all {} requests that were allowed are sent", spent.requests),
            (false, 0) => "the budget is spent".to_owned(),
            (false, left) => {
                format!("the budget is spent but for {left} tokens, and the next request has {prompt_tokens} at least")
            }
        };
        EndpointError::Spent { what, spent: spent.in_words(), prompt_tokens }
    }

    /// A request that was taken is over; `answered` says what its answer cost, if one came.
    fn settle(&self, prompt_tokens: u64, answered: Option<&Reply>) {
        let mut state = self.state();
        state.under_way = state.under_way.saturating_sub(prompt_tokens);
        if let Some(reply) = answered {
            let spent = &mut state.spent;
            spent.answers += 1;
            spent.prompt_tokens = spent.prompt_tokens.saturating_add(reply.prompt_tokens);
            spent.answer_tokens = spent.answer_tokens.saturating_add(reply.answer_tokens);
            spent.estimated += u64::from(reply.estimated);
            spent.cut += u64::from(reply.cut_at.is_some());
        }
        drop(state);
        self.settled.notify_all();
    }

    pub(crate) fn found(&self) {
        self.state().spent.kept += 1;
    }
}

/// A request that may be sent.
#[derive(Debug)]
pub(crate) struct Taken<'a> {
    purse: &'a Purse,
    prompt_tokens: u64,
    is_settled: bool,
}

impl Taken<'_> {
    /// It is over; `answered` says what its answer cost, if one came.
    pub(crate) fn settle(mut self, answered: Option<&Reply>) {
        self.is_settled = true;
        self.purse.settle(self.prompt_tokens, answered);
    }
}

impl Drop for Taken<'_> {
    /// One that was given up without a word holds nobody up.
    fn drop(&mut self) {
        if !self.is_settled {
            self.purse.settle(self.prompt_tokens, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_begun_that_the_budget_does_not_hold() {
        let purse = Purse::new(Budget { tokens: Some(100), requests: Some(3) });
        let cost = |tokens| Reply { prompt_tokens: tokens, ..Reply::default() };
        let first = purse.take(60).expect("within").expect("nothing is under way");
        assert!(purse.take(50).expect("perhaps later").is_none(), "what is under way counts");
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| purse.wait(Duration::from_secs(60)));
            std::thread::sleep(Duration::from_millis(50));
            first.settle(Some(&cost(60)));
            waits.join().expect("woken");
        });
        let refused = purse.take(50).expect_err("100 do not hold 60 and 50").to_string();
        assert!(refused.contains("spent but for 40 tokens, and the next request has 50 at least"), "{refused}");
        drop(purse.take(40).expect("within").expect("nothing is under way"));
        let third = purse.take(40).expect("a failed request costs no tokens").expect("and holds nobody up");
        third.settle(Some(&cost(10)));
        let refused = purse.take(1).expect_err("but it was a request").to_string();
        assert!(refused.starts_with("all 3 requests that were allowed are sent (3 requests, 70 tokens)"), "{refused}");
        assert_eq!((purse.spent().requests, purse.spent().tokens(), purse.spent().answers), (3, 70, 2));
    }
}
