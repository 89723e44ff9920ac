//! Log-probabilities in the two forms that OpenAI has for them.

use crate::desk::Placed;
use crate::wire::chat::{ChatLogprobs, TokenLogprob, TopLogprob};
use crate::wire::completions::{CompletionLogprobs, Ranked};
use untangle_model::{ModelError, Scored, TextStream, Tokenizer};

/// What stands for the logarithm of nothing, which JSON has no number for; the number is OpenAI's.
const NEVER: f32 = -9999.0;

fn finite(logprob: f32) -> f32 {
    logprob.max(NEVER)
}

/// Scores of tokens of a text, `base` characters into the text of its choice.
pub(super) fn of_tokens(tokenizer: &Tokenizer, text: &str, base: usize, tokens: &[Placed]) -> CompletionLogprobs {
    let mut all = CompletionLogprobs::default();
    for Placed { scored, at } in tokens {
        // Places lie between characters, and within the text but for tokens at its end that are nothing of it.
        let before = text.get(..(*at).min(text.len())).map_or(0, |before| before.chars().count());
        push(&mut all, tokenizer, scored, base + before);
    }
    all
}

/// Scores of a prompt, of whose first token nothing is known.
///
/// # Errors
/// When its tokens are no text.
pub(super) fn of_prompt(
    tokenizer: &Tokenizer,
    prompt: &[u32],
    scores: &[Scored],
) -> Result<CompletionLogprobs, ModelError> {
    let mut all = CompletionLogprobs::default();
    let (mut stream, mut characters) = (TextStream::new(tokenizer, &[], Vec::new()), 0);
    for (place, token) in prompt.iter().enumerate() {
        match place.checked_sub(1).and_then(|before| scores.get(before)) {
            Some(scored) => push(&mut all, tokenizer, scored, characters),
            None => {
                all.tokens.push(tokenizer.token_text(*token));
                all.token_logprobs.push(None);
                all.top_logprobs.push(None);
                all.text_offset.push(characters);
            }
        }
        characters += stream.push(*token)?.chars().count();
    }
    Ok(all)
}

fn push(all: &mut CompletionLogprobs, tokenizer: &Tokenizer, scored: &Scored, offset: usize) {
    let own = (scored.token, scored.logprob);
    let mut top: Vec<(String, f32)> = Vec::new();
    // Where two tokens read alike, the likelier one is told.
    for (token, logprob) in scored.likeliest.iter().copied().chain([own]) {
        let text = tokenizer.token_text(token);
        if top.iter().all(|(known, _)| *known != text) {
            top.push((text, finite(logprob)));
        }
    }
    all.tokens.push(tokenizer.token_text(scored.token));
    all.token_logprobs.push(Some(finite(scored.logprob)));
    all.top_logprobs.push(Some(Ranked(top)));
    all.text_offset.push(offset);
}

/// Appends scores to others.
pub(super) fn join(first: &mut CompletionLogprobs, second: CompletionLogprobs) {
    first.tokens.extend(second.tokens);
    first.token_logprobs.extend(second.token_logprobs);
    first.top_logprobs.extend(second.top_logprobs);
    first.text_offset.extend(second.text_offset);
}

/// Scores of tokens of a reply.
pub(super) fn of_reply(tokenizer: &Tokenizer, tokens: &[Placed]) -> ChatLogprobs {
    let text = |token: u32| tokenizer.token_text(token);
    let top = |(token, logprob): &(u32, f32)| {
        let token = text(*token);
        TopLogprob { bytes: bytes_of(&token), token, logprob: finite(*logprob) }
    };
    let one = |Placed { scored, .. }: &Placed| {
        let token = text(scored.token);
        TokenLogprob {
            bytes: bytes_of(&token),
            token,
            logprob: finite(scored.logprob),
            top_logprobs: scored.likeliest.iter().map(top).collect(),
        }
    };
    ChatLogprobs { content: tokens.iter().map(one).collect(), refusal: None }
}

/// The bytes of a token's text; `<0xE2>` in it is one.
fn bytes_of(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let byte = rest.strip_prefix("<0x").and_then(|hex| {
            let (digits, rest) = hex.split_at_checked(2)?;
            Some((u8::from_str_radix(digits, 16).ok()?, rest.strip_prefix('>')?))
        });
        let taken;
        (taken, rest) = match byte {
            Some((byte, after)) => (vec![byte], after),
            None => (rest.as_bytes()[..first.len_utf8()].to_vec(), &rest[first.len_utf8()..]),
        };
        bytes.extend(taken);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_those_of_the_text() {
        assert_eq!(bytes_of(" cat"), b" cat");
        assert_eq!(bytes_of("<0xE2><0x9c>é<0xZZ><"), [b"\xE2\x9C".as_slice(), "é<0xZZ><".as_bytes()].concat());
    }
}
