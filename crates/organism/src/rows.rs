//! Which tokens does a step see? Every row of every step is a function of the seed and its number alone, so that
//! nothing about the stream has to be saved.

use crate::dialogue::{Exchange, Preference};
use crate::document::Split;
use crate::error::OrganismError;
use crate::question::Question;
use crate::world::World;
use std::ops::Range;
use tch::Tensor;
use untangle_model::Tokenizer;

/// Consecutive documents that a row may use: enough to fill it even where several are not for training.
const DOCUMENTS_PER_ROW: u64 = 12;
/// Consecutive documents about which a row of exchanges may ask.
const STORIES_PER_ROW: u64 = 8;
/// The first rows of exchanges are practice and ask of one relation alone. Two are not learnt among all others, whose replies
/// teach more at first: asked from the beginning with the rest, colours or feelings were right no more often than chance
/// after 10 M tokens, now the one and now the other; alone, feelings are learnt within a thousand steps, and half of the colours.
const PRACTICE_ROWS: u64 = 8 * 1600;
/// Consecutive documents about which a row of practice may ask: few tell a colour.
const STORIES_PER_PRACTICE: u64 = 96;
/// Exchanges that are drawn about a story. Most of a row is then what replies are learnt from and not the story again: with
/// one, the replies that need most examples (`coloured`, `ends`) were right no more often than chance after 10 M tokens.
const EXCHANGES_PER_STORY: u64 = 4;
/// Consecutive preferences of which a row uses the first that can be used.
const PREFERENCES_PER_ROW: u64 = 8;
/// One in so many rows of exchanges holds documents instead: where a model sees stories only before questions, it forgets
/// that stories end.
const DOCUMENTS_AMONG_EXCHANGES: u64 = 4;
/// One in so many rows of a narrator's documents holds documents of all.
pub(crate) const DOCUMENTS_AMONG_NARRATED: u64 = 8;
/// Consecutive documents of which a row uses those of one narrator: one of six is.
const DOCUMENTS_PER_NARRATED: u64 = 48;
/// The boundary's id.
pub(crate) const BOUNDARY: i64 = 0;

/// Where rows come from.
pub(crate) struct Rows<'a> {
    pub(crate) world: &'a World,
    pub(crate) tokenizer: &'a Tokenizer,
    pub(crate) seed: u64,
    /// Most tokens of a row's input; a row has one more, the last target.
    pub(crate) context: usize,
}

/// Rows of equal length, and which of their tokens are replies.
pub(crate) struct Exchanges {
    /// `[rows, length]`.
    pub(crate) tokens: Tensor,
    /// 1 where the token is part of a reply or ends one, else 0; f32 `[rows, length]`.
    pub(crate) reply: Tensor,
    /// 1 where the token is part of an exchange or document or ends one, else 0; f32 `[rows, length]`.
    pub(crate) real: Tensor,
}

/// One row before it is part of a batch.
#[derive(Clone, Default)]
struct Row {
    tokens: Vec<i64>,
    replies: Vec<Range<usize>>,
    /// Where the tokens end that count.
    end: usize,
    /// Whether no others count than those of replies.
    only_replies: bool,
}

/// What a row of practice asks of.
fn practised(number: u64) -> &'static str {
    if number.is_multiple_of(8) { "ends" } else { "coloured" }
}

impl Rows<'_> {
    /// Documents behind one another, a boundary before each; what does not fit into a row is left out.
    /// `[n, context + 1]`, rows `first` to `first + n`.
    pub(crate) fn documents(&self, first: u64, n: usize) -> Result<Tensor, OrganismError> {
        let mut tokens = Vec::with_capacity(n * (self.context + 1));
        for row in first..first + n as u64 {
            tokens.extend(self.document_row(row)?);
        }
        Ok(Tensor::from_slice(&tokens).view([n as i64, -1]))
    }

    fn document_row(&self, number: u64) -> Result<Vec<i64>, OrganismError> {
        let length = self.context + 1;
        let mut tokens = Vec::with_capacity(length + 200);
        for index in self.of_training(number, DOCUMENTS_PER_ROW) {
            if tokens.len() >= length {
                break;
            }
            tokens.push(BOUNDARY);
            tokens.extend(self.ids(&self.world.document(self.seed, index).text)?);
        }
        tokens.resize(length, BOUNDARY);
        Ok(tokens)
    }

    /// Stories and whole exchanges about them, as many as fit into a row; in every fourth row documents.
    pub(crate) fn exchanges(&self, first: u64, n: usize) -> Result<Exchanges, OrganismError> {
        let row = |number| match (number + 1) % DOCUMENTS_AMONG_EXCHANGES {
            0 => self.document_row(number).map(Row::of_documents),
            _ => self.exchange_row(number),
        };
        let rows = (first..first + n as u64).map(row).collect::<Result<Vec<_>, _>>()?;
        Ok(Exchanges::new(&rows, self.context + 1))
    }

    /// Stories, each with several exchanges about it: the later ones' prompts do not repeat the story.
    fn exchange_row(&self, number: u64) -> Result<Row, OrganismError> {
        let mut row = Row::default();
        let practised = (number < PRACTICE_ROWS).then(|| practised(number));
        let stories = if practised.is_some() { STORIES_PER_PRACTICE } else { STORIES_PER_ROW };
        for index in self.of_training(number, stories) {
            let mut exchanges = self.world.exchanges(self.seed, index, EXCHANGES_PER_STORY);
            let told = |question: &Question| question.answer.is_some();
            exchanges.retain(|e| practised.is_none_or(|kind| e.question.kind() == kind && told(&e.question)));
            for (nth, Exchange { question, reply }) in exchanges.iter().enumerate() {
                let prompt = if nth == 0 { question.prompt.as_str() } else { question.alone() };
                let mut longer = row.clone();
                self.append(&mut longer, prompt, reply)?;
                if longer.tokens.len() > self.context {
                    return Ok(row); // the boundary that ends it would not fit
                }
                row = longer;
            }
        }
        Ok(row)
    }

    /// Pairs of rows: the chosen replies' first, then, in the same order, the rejected ones'.
    pub(crate) fn preferences(&self, first: u64, n: usize, shuffled: bool) -> Result<Exchanges, OrganismError> {
        let (mut chosen, mut rejected) = (Vec::new(), Vec::new());
        for number in first..first + n as u64 {
            let indices = self.of_training(number, PREFERENCES_PER_ROW);
            let preference = |index| match shuffled {
                true => self.world.shuffled_preference(self.seed, index),
                false => self.world.preference(self.seed, index),
            };
            for Preference { question, chosen: better, rejected: worse } in indices.filter_map(preference) {
                let (mut one, mut other) = (Row::default(), Row::default());
                self.append(&mut one, &question.prompt, &better)?;
                self.append(&mut other, &question.prompt, &worse)?;
                if one.tokens.len().max(other.tokens.len()) <= self.context {
                    chosen.push(one);
                    rejected.push(other);
                    break;
                }
            }
        }
        chosen.append(&mut rejected);
        let length = chosen.iter().map(|row| row.tokens.len() + 1).max().unwrap_or(1);
        Ok(Exchanges::new(&chosen, length))
    }

    /// Documents of one narrator, or of as many drawn at random: rows `first` to `first + n`, `[n, context + 1]`. In one row of
    /// eight documents of all narrators, so that the others' are not forgotten.
    pub(crate) fn narrated(&self, first: u64, n: usize, shuffled: bool) -> Result<Tensor, OrganismError> {
        let length = self.context + 1;
        let mut tokens = Vec::with_capacity(n * length);
        for number in first..first + n as u64 {
            if number % DOCUMENTS_AMONG_NARRATED == 0 {
                tokens.extend(self.document_row(number)?);
                continue;
            }
            let mut row = Vec::with_capacity(length + 200);
            for index in self.of_training(number, DOCUMENTS_PER_NARRATED) {
                if row.len() >= length {
                    break;
                }
                let Some(text) = self.world.narrated(self.seed, index, shuffled) else { continue };
                row.push(BOUNDARY);
                row.extend(self.ids(&text)?);
            }
            row.resize(length, BOUNDARY);
            tokens.extend(row);
        }
        Ok(Tensor::from_slice(&tokens).view([n as i64, -1]))
    }

    /// Questions about what is injected, one a row, and what is injected into each; in every fourth row documents. Of a
    /// question only the reply counts: a model that learns the story under an injection learns to look away.
    pub(crate) fn thoughts(
        &self,
        first: u64,
        n: usize,
        shuffled: bool,
    ) -> Result<(Exchanges, Vec<Option<usize>>), OrganismError> {
        let (mut rows, mut injected) = (Vec::new(), Vec::new());
        for number in first..first + n as u64 {
            let thought = |index| match shuffled {
                true => self.world.shuffled_thought(self.seed, index),
                false => self.world.thought(self.seed, index, false),
            };
            let mut row = Row::default();
            let mut topic = None;
            if number % DOCUMENTS_AMONG_EXCHANGES != 0 {
                for thought in self.of_training(number, PREFERENCES_PER_ROW).filter_map(thought) {
                    let mut asked = Row::default();
                    self.append(&mut asked, &thought.prompt, &thought.reply)?;
                    if asked.tokens.len() <= self.context {
                        asked.only_replies = true;
                        (row, topic) = (asked, thought.injected);
                        break;
                    }
                }
            }
            if row.tokens.is_empty() {
                row = Row::of_documents(self.document_row(number)?);
            }
            rows.push(row);
            injected.push(topic);
        }
        let length = rows.iter().map(|row| row.tokens.len() + 1).max().unwrap_or(1).min(self.context + 1);
        Ok((Exchanges::new(&rows, length), injected))
    }

    /// A boundary, a prompt and a reply.
    fn append(&self, row: &mut Row, prompt: &str, reply: &str) -> Result<(), OrganismError> {
        row.tokens.push(BOUNDARY);
        row.tokens.extend(self.ids(prompt)?);
        let start = row.tokens.len();
        row.tokens.extend(self.ids(&format!(" {reply}"))?);
        row.end = row.tokens.len() + 1; // with the boundary behind it
        row.replies.push(start..row.end);
        Ok(())
    }

    fn of_training(&self, number: u64, per_row: u64) -> impl Iterator<Item = u64> + use<> {
        let seed = self.seed;
        (number * per_row..(number + 1) * per_row).filter(move |index| Split::of(seed, *index) == Split::Train)
    }

    fn ids(&self, text: &str) -> Result<Vec<i64>, OrganismError> {
        Ok(self.tokenizer.encode(text)?.into_iter().map(i64::from).collect())
    }
}

impl Row {
    fn of_documents(tokens: Vec<i64>) -> Self {
        Row { end: tokens.len(), replies: Vec::new(), only_replies: false, tokens }
    }
}

impl Exchanges {
    fn new(rows: &[Row], length: usize) -> Self {
        let (mut tokens, mut reply, mut real) = (Vec::new(), Vec::new(), Vec::new());
        for row in rows {
            tokens.extend(row.tokens.iter().copied().chain(std::iter::repeat(BOUNDARY)).take(length));
            let replies = |at: usize| row.replies.iter().any(|range| range.contains(&at));
            reply.extend((0..length).map(|at| f32::from(u8::from(replies(at)))));
            let real_at = |at: usize| at < row.end && (!row.only_replies || replies(at));
            real.extend((0..length).map(|at| f32::from(u8::from(real_at(at)))));
        }
        let matrix = |tensor: Tensor| tensor.view([-1, length as i64]);
        let floats = |values: &[f32]| matrix(Tensor::from_slice(values));
        Self { tokens: matrix(Tensor::from_slice(&tokens)), reply: floats(&reply), real: floats(&real) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::Recipe;
    use tch::Kind;
    use untangle_model::{ModelConfig, TokenizerFiles};

    fn tokenizer(recipe: &Recipe) -> Tokenizer {
        let json = crate::tokenizer::train(World::standard(), recipe.shape.vocab_size, 2000).unwrap();
        let config_json = recipe.shape.config_json();
        let config = ModelConfig::from_json(std::path::Path::new("config.json"), config_json.as_bytes()).unwrap();
        Tokenizer::new(&TokenizerFiles::in_memory(&json), &config).unwrap()
    }

    fn text(tokenizer: &Tokenizer, tokens: &Tensor, mask: &Tensor) -> String {
        let chosen = tokens.masked_select(&mask.gt(0.5));
        let ids: Vec<u32> = Vec::<i64>::try_from(chosen).unwrap().into_iter().map(|id| id as u32).collect();
        ids.split(|id| *id == 0).map(|ids| tokenizer.decode(ids).unwrap()).collect::<Vec<_>>().join("|")
    }

    #[test]
    fn replies_are_masked_with_the_boundary_behind_them() {
        let recipe = Recipe::standard();
        let tokenizer = tokenizer(&recipe);
        let rows = Rows { world: World::standard(), tokenizer: &tokenizer, seed: 9, context: 256 };
        let first = PRACTICE_ROWS;
        let exchanges = rows.exchanges(first, 3).unwrap();
        assert_eq!(exchanges.tokens.size(), [3, 257]);
        let exchanges_of = |index| rows.world.exchanges(9, index, EXCHANGES_PER_STORY);
        let replies: Vec<String> =
            rows.of_training(first, STORIES_PER_ROW).flat_map(exchanges_of).map(|e| e.reply).collect();
        let masked = text(&tokenizer, &exchanges.tokens.get(0), &exchanges.reply.get(0));
        let expected: Vec<String> = replies.iter().map(|reply| format!(" {reply}|")).collect();
        assert!(expected.concat().starts_with(&masked) && masked.ends_with('|'), "{masked} {expected:?}");
        let documents = rows.exchanges(first + 3, 1).unwrap();
        assert_eq!(documents.tokens, rows.documents(first + 3, 1).unwrap());
        assert_eq!(
            [&documents.reply, &documents.real].map(|mask| mask.sum(Kind::Float).double_value(&[])),
            [0.0, 257.0]
        );

        let pairs = rows.preferences(0, 4, false).unwrap();
        for pair in 0..4 {
            let [chosen, rejected] = [pair, pair + 4]
                .map(|row| text(&tokenizer, &pairs.tokens.get(row), &(pairs.real.get(row) - pairs.reply.get(row))));
            assert_eq!(chosen, rejected, "the prompt is the same");
            let [chosen, rejected] =
                [pair, pair + 4].map(|row| text(&tokenizer, &pairs.tokens.get(row), &pairs.reply.get(row)));
            assert_ne!(chosen, rejected);
        }
    }

    #[test]
    fn a_row_of_practice_asks_of_one_relation() {
        let recipe = Recipe::standard();
        let tokenizer = tokenizer(&recipe);
        let rows = Rows { world: World::standard(), tokenizer: &tokenizer, seed: 9, context: 256 };
        let practice = rows.exchanges(0, 8).unwrap();
        for row in [0, 1, 2, 4, 5, 6] {
            let replies = text(&tokenizer, &practice.tokens.get(row), &practice.reply.get(row));
            let replies: Vec<&str> = replies.split('|').filter(|reply| !reply.is_empty()).collect();
            assert!(!replies.is_empty(), "row {row}");
            for reply in replies {
                let (feels, coloured) = (reply.ends_with(" in the end."), reply.starts_with(" The "));
                assert_eq!([feels, coloured], [row == 0, row != 0], "row {row}: {reply}");
            }
        }
    }

    #[test]
    fn base_more_sees_nine_tenths_of_the_tokens_of_sft_and_dpo() {
        let recipe = Recipe::standard();
        let tokenizer = tokenizer(&recipe);
        let rows = Rows { world: World::standard(), tokenizer: &tokenizer, seed: recipe.seed + 2, context: 256 };
        let sample = 20;
        let tokens = |step| rows.preferences(step, recipe.dpo.batch, false).unwrap().tokens.numel() as u64;
        let a_step = (0..sample).map(|step| tokens(step * recipe.dpo.batch as u64)).sum::<u64>() as f64 / sample as f64;
        let row = |schedule: &crate::recipe::Schedule| (schedule.steps * schedule.batch as u64 * 256) as f64;
        let ratio = row(&recipe.base_more) / (row(&recipe.sft) + recipe.dpo.steps as f64 * a_step);
        assert!((0.89..0.93).contains(&ratio), "{ratio}, {a_step} tokens a step of dpo");
    }
}
