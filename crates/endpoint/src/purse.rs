//! What was spent, and may more be?

use crate::error::EndpointError;
use crate::options::Budget;
use serde::Serialize;
use std::sync::{Condvar, Mutex, MutexGuard};

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

    /// Takes what a request with a prompt of about so many tokens costs at least; to be settled afterwards. Where only what others may
    /// cost that are under way stands against it, it waits until they are settled.
    pub(crate) fn take(&self, prompt_tokens: u64) -> Result<(), EndpointError> {
        let over = |limit: Option<u64>, value: u64| limit.is_some_and(|limit| value > limit);
        let mut state = self.state();
        loop {
            let alone = state.spent.tokens().saturating_add(prompt_tokens);
            if over(self.budget.requests, state.spent.requests + 1) || over(self.budget.tokens, alone) {
                drop(state);
                return Err(self.refusal(prompt_tokens));
            }
            if !over(self.budget.tokens, alone.saturating_add(state.under_way)) {
                break;
            }
            state = self.settled.wait(state).unwrap_or_else(|poisoned| poisoned.into_inner());
        }
        state.spent.requests += 1;
        state.under_way += prompt_tokens;
        Ok(())
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
    pub(crate) fn settle(&self, prompt_tokens: u64, answered: Option<&crate::reply::Reply>) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::Reply;

    #[test]
    fn nothing_is_begun_that_the_budget_does_not_hold() {
        let purse = Purse::new(Budget { tokens: Some(100), requests: Some(3) });
        purse.take(60).expect("within");
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| purse.take(50));
            std::thread::sleep(std::time::Duration::from_millis(50));
            assert!(!waits.is_finished(), "what is under way counts");
            purse.settle(60, Some(&Reply { prompt_tokens: 60, ..Reply::default() }));
            let refused = waits.join().expect("no panic").expect_err("100 do not hold 60 and 50").to_string();
            assert!(refused.contains("spent but for 40 tokens, and the next request has 50 at least"), "{refused}");
        });
        let purse = Purse::new(Budget { tokens: Some(100), requests: Some(3) });
        purse.take(60).expect("within");
        purse.settle(60, Some(&Reply { prompt_tokens: 40, answer_tokens: 10, ..Reply::default() }));
        purse.take(50).expect("within");
        purse.settle(50, None);
        purse.take(50).expect("a failed request costs no tokens");
        purse.settle(50, None);
        let refused = purse.take(1).expect_err("but it was a request").to_string();
        assert!(refused.starts_with("all 3 requests that were allowed are sent (3 requests, 50 tokens)"), "{refused}");
        assert_eq!((purse.spent().requests, purse.spent().tokens(), purse.spent().answers), (3, 50, 1));
    }
}
