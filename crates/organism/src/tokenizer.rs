//! The organism's tokenizer: byte-level BPE (Sennrich et al. 2016; Radford et al. 2019), trained on the world.
//!
//! All 256 bytes are tokens, so any text can be encoded. A text is first cut into words, digits and signs, a space
//! going with what follows it, so that a token never reaches from one word into another or over a quotation mark:
//! annotated ranges then begin and end with tokens.

use crate::error::OrganismError;
use crate::question::Telling;
use crate::world::World;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::normalizers::NFC;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{AddedToken, SplitDelimiterBehavior, TokenizerBuilder};

/// The token that stands before every document and ends every text; its id is 0.
pub const BOUNDARY: &str = "<|end|>";

/// Tokens of the organism's tokenizer: the fewest hundreds at which nearly every word of the world is one token.
pub const VOCAB_SIZE: usize = 2304;

/// Words, single digits, single signs, each with the space before it; other white space.
const PIECES: &str = r" ?\p{L}+| ?\p{N}| ?[^\s\p{L}\p{N}]|\s+(?!\S)|\s+";

/// Seed of the documents that the tokenizer is trained on.
const SEED: u64 = 0x746f_6b65_6e73;

/// Trains a tokenizer of this many tokens on the first `documents` documents and their questions: `tokenizer.json`.
/// The same arguments give the same bytes.
///
/// # Errors
/// The library refuses: fewer tokens than bytes.
pub fn train(world: &World, vocab_size: usize, documents: u64) -> Result<Vec<u8>, OrganismError> {
    let fault = |reason: String| OrganismError::Tokenizer { vocab_size, reason };
    if vocab_size < 257 {
        return Err(fault("the 256 bytes and the boundary need 257 tokens".into()));
    }
    let refused = |error: tokenizers::Error| fault(error.to_string());
    let pieces = Split::new(SplitPattern::Regex(PIECES.into()), SplitDelimiterBehavior::Isolated, false);
    let bytes = ByteLevel::new(false, true, false);
    let cut: Vec<PreTokenizerWrapper> = vec![pieces.map_err(refused)?.into(), bytes.into()];
    let mut tokenizer = TokenizerBuilder::<BPE, NFC, Sequence, ByteLevel, ByteLevel>::new()
        .with_model(BPE::default())
        .with_pre_tokenizer(Some(Sequence::new(cut)))
        .with_decoder(Some(bytes))
        .build()
        .map_err(refused)?;
    let mut trainer = BpeTrainer::builder()
        .vocab_size(vocab_size)
        .min_frequency(2)
        .show_progress(false)
        .special_tokens(vec![AddedToken::from(BOUNDARY, true)])
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .build();
    tokenizer.train(&mut trainer, texts(world, documents)).map_err(refused)?;
    Ok(tokenizer.to_string(false).map_err(refused)?.into_bytes())
}

fn texts(world: &World, documents: u64) -> impl Iterator<Item = String> + Send + '_ {
    let text = |index| {
        let document = world.document(SEED, index).text;
        let told = world.question(SEED, index, Telling::Told);
        told.map_or(document, |question| format!("{} {}", question.prompt, question.reply))
    };
    (0..documents).map(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::words;
    use std::str::FromStr;
    use tokenizers::Tokenizer;

    fn trained(vocab_size: usize) -> Tokenizer {
        let json = train(World::standard(), vocab_size, 2000).unwrap();
        Tokenizer::from_str(std::str::from_utf8(&json).unwrap()).unwrap()
    }

    #[test]
    fn the_same_arguments_give_the_same_bytes() {
        let train = || train(World::standard(), 600, 500).unwrap();
        assert!(train() == train());
    }

    #[test]
    fn any_text_comes_back() {
        let tokenizer = trained(600);
        for text in [
            "Anna saw a crane.",
            "Ünïcödé 漢字 \u{1F980}\t x\n\n  y",
            "",
            " ",
            "a\u{0}b",
            "<|end",
            "def f(x):\n    return x",
        ] {
            let ids = tokenizer.encode_fast(text, false).unwrap();
            assert_eq!(tokenizer.decode(ids.get_ids(), false).unwrap(), text);
        }
        assert_eq!(tokenizer.token_to_id(BOUNDARY), Some(0));
    }

    #[test]
    fn nearly_every_word_is_one_token_and_no_token_reaches_over_a_sign() {
        let tokenizer = trained(VOCAB_SIZE);
        let (mut tokens, mut pieces) = (0, 0);
        for index in 0..500 {
            let document = World::standard().document(8, index);
            let encoding = tokenizer.encode(&document.text[..], false).unwrap();
            tokens += encoding.len();
            pieces += words(&document.text).len();
            for (start, end) in encoding.get_offsets() {
                let token = &document.text[*start..*end];
                let word = token.trim();
                let whole = word.chars().count() <= 1 || word.chars().all(char::is_alphabetic);
                assert!(whole, "`{token}`");
            }
        }
        let ratio = f64::from(u32::try_from(tokens).unwrap()) / f64::from(u32::try_from(pieces).unwrap());
        assert!(ratio < 1.02, "{ratio} tokens a word");
    }

    #[test]
    fn too_few_tokens_are_refused() {
        let fault = train(World::standard(), 100, 10).unwrap_err().to_string();
        assert!(fault.contains("need 257 tokens"), "{fault}");
    }
}
