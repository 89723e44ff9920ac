//! In which words is a language model asked?
//!
//! Each request says what there is to do in the system's message and on what in the user's, and how the answer begins that is
//! read (`answers`). Features are called units here: that is what the models asked know them as.

use super::material::{JUDGED, Piece};
use untangle_endpoint::Request;
use untangle_schema::FeatureCard;

/// Texts of each sort that test a label.
pub const PROBES: usize = 5;
/// Texts that sensitivity is measured on.
pub const WRITTEN: usize = 10;
/// Texts that show what texts of this kind are like.
const MANNER: usize = 4;
/// Texts in one request to a judge.
pub const PER_REQUEST: usize = JUDGED;
/// Likeliest tokens by which a yes is told from a no.
const OF_TWO: u32 = 5;
/// Likeliest tokens among which all degrees of activation may be; endpoints tell no more.
const OF_TEN: u32 = 20;
/// The word for what has nothing in common.
pub const MIXED: &str = "mixed";

const LABEL: &str = "\
You find out what single units inside a language model respond to. A unit is active on some tokens of a text and silent on \
all others. You are shown texts in which it is active; the tokens on which it is are between << and >>. Before every text \
stands how strongly, from 1 to 10; ⏎ is a line break.
Below them may stand texts in which it is silent, though a similar unit is active: what you say must not fit these.
Look for what the marked tokens share that unmarked ones lack: a word, a kind of word, a part of a word, its place or role in \
the sentence, what comes before it, what the passage is about, its tone or form. Say it as narrowly as all of the texts \
allow, in at most twelve words, as a noun phrase. Leave out words such as token, unit, text, or active. If there is nothing \
that they share, say mixed.
You may think first. The last line of your answer is: LABEL: and then the phrase.";

const OUTPUT: &str = "\
You find out what single units inside a language model make it say. When a unit is active, some tokens become likelier to \
come next and others less likely. You are shown these tokens, the most affected first; a blank at the beginning of a token is \
part of it.
Say what the likelier ones share, in at most ten words, as a noun phrase; the less likely ones may help to see it. Leave out \
words such as token or unit. If there is nothing that they share, say mixed.
You may think first. The last line of your answer is: LABEL: and then the phrase.";

const PROBE: &str = "\
Somebody has said in a phrase what a unit inside a language model responds to. You test it with short texts, of at most 25 \
words each, that are like the samples in manner and vocabulary. Some texts fit the phrase: the unit must be active in them if \
it is right; let them be as different from each other as it allows. Others only come near, and miss the phrase by one thing \
each: the unit must be silent in them.
Every text is on a line of its own, without numbers or quotation marks. Lines that fit begin with + and lines that do not \
with -.";

const REVISE: &str = "\
You have said in a phrase what a unit inside a language model responds to, and it was tested: the model read new texts. \
Marked by << and >> are the tokens on which the unit was active, and before every text stands how strongly, from 0, which is \
silent, to 10. ⏎ is a line break.
Where the phrase holds, say it again. Where it does not, say what fits all that you know now, the first texts and the new \
ones, in at most twelve words, as a noun phrase, without words such as token, unit, text, or active. If there is nothing \
that the marked tokens share, say mixed.
You may think first. The last line of your answer is: LABEL: and then the phrase.";

const WRITE: &str = "\
Somebody looks for texts of a certain kind. Write new ones: short, of at most 25 words each, like the samples in manner and \
vocabulary, and as different from each other as the kind allows. Each has to be plainly of this kind.
Every text is on a line of its own that begins with +, without numbers or quotation marks.";

const DETECT: &str = "\
A unit inside a language model responds to what a phrase says. For each of some texts you decide whether it is active \
anywhere in it: 1 if it is, 0 if it is not. ⏎ is a line break.
Answer with one digit for each text, in their order, separated by blanks, and with nothing else.";

const FUZZ: &str = "\
A unit inside a language model responds to what a phrase says. In each of some texts, tokens are marked by << and >>. You \
decide whether these are the ones on which it is active: 1 if the marks are right, 0 if they stand where it would be silent. \
⏎ is a line break.
Answer with one digit for each text, in their order, separated by blanks, and with nothing else.";

const SAY: &str = "\
A unit inside a language model was turned up while the model wrote some texts, and was left alone, or another one was turned up, \
while it wrote others. A phrase says what the unit makes the model say. For each text you decide whether it is one of those that \
the unit made: 1 if it shows what the phrase says, 0 if it does not. ⏎ is a line break; texts may be broken or repeat themselves, \
which says nothing.
Answer with one digit for each text, in their order, separated by blanks, and with nothing else.";

const SIMULATE: &str = "\
A unit inside a language model responds to what a phrase says. For every token of a text you say how strongly it is active \
there: 0 where it is silent, which it is on most tokens, up to 9 where it is as strong as it ever is. The tokens are listed, \
each on a line behind its number. What comes after a token cannot make the unit active on it.
Answer with a line for each token, in their order: its number, a colon, a blank, and one digit; and with nothing else.";

fn request(system: &str, user: String, odds: u32) -> Request {
    Request { system: system.to_owned(), user, odds }
}

/// A text on one line, with marks around what is marked.
pub fn line(tokens: &[String], marks: &[bool]) -> String {
    let mut text = String::new();
    let mut within = false;
    for (token, marked) in tokens.iter().zip(marks.iter().chain(std::iter::repeat(&false))) {
        // The blank before a word is not the word's, but what is nothing else is its own; between two that are marked it
        // belongs to them.
        let word = if token.trim().is_empty() { token.as_str() } else { token.trim_start() };
        let blank = if within && *marked { "" } else { &token[..token.len() - word.len()] };
        let token = if within && *marked { token.as_str() } else { word };
        text += match (within, *marked) {
            (true, false) => ">>",
            _ => "",
        };
        text += blank;
        text += if *marked && !within { "<<" } else { "" };
        text += token;
        within = *marked;
    }
    text += if within { ">>" } else { "" };
    one_line(&text)
}

/// Line breaks as signs, and nothing that acts on whoever reads it.
pub(super) fn one_line(text: &str) -> String {
    let visible = |c: char| match c {
        '\n' => Some('⏎'),
        '\t' => Some(' '),
        c if c.is_control() => None,
        c => Some(c),
    };
    text.chars().filter_map(visible).collect::<String>().trim().to_owned()
}

/// How strong, from 1 to 10, or 0 for nothing.
fn degree(activation: f32, most: f32) -> u32 {
    if activation > 0.0 && most > 0.0 { (10.0 * activation / most).ceil().clamp(1.0, 10.0) as u32 } else { 0 }
}

fn listed(pieces: &[Piece], most: f32) -> String {
    let lines = pieces.iter().enumerate().map(|(at, piece)| {
        format!("{}. ({}) {}", at + 1, degree(piece.strength(), most), line(&piece.tokens, &piece.marks()))
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// What makes the feature fire?
pub fn label(shown: &[Piece], missed: &[Piece], most: f32) -> Request {
    let mut user = format!("Texts:\n{}", listed(shown, most));
    if !missed.is_empty() {
        user += &format!("\n\nTexts in which it is silent:\n{}", listed(missed, most));
    }
    request(LABEL, user, 0)
}

/// What does it make the model say? None of a feature of which no tokens are known.
pub fn output(card: &FeatureCard) -> Option<Request> {
    let tokens = |effects: &[untangle_schema::LogitEffect]| {
        effects.iter().map(|effect| format!("{:?}", effect.token)).collect::<Vec<_>>().join(", ")
    };
    (card.max_activation > 0.0 && !card.top_logits.is_empty()).then(|| {
        let (up, down) = (tokens(&card.top_logits), tokens(&card.bottom_logits));
        request(OUTPUT, format!("Likelier: {up}\nLess likely: {down}"), 0)
    })
}

/// Samples of what texts of this kind are like, that say nothing of the feature.
fn manner(samples: &[String]) -> String {
    if samples.is_empty() {
        return String::new();
    }
    let lines = samples.iter().take(MANNER).map(|sample| format!("  {}", one_line(sample)));
    format!("Samples of the manner:\n{}\n\n", lines.collect::<Vec<_>>().join("\n"))
}

/// Texts that should and should not fire it.
pub fn probe(label: &str, samples: &[String]) -> Request {
    let wanted = format!("Phrase: {label}\n\nWrite {PROBES} texts that fit and {PROBES} that come near.");
    request(PROBE, manner(samples) + &wanted, 0)
}

/// A text that was written as a test, and what became of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Tested {
    /// Whether it was written to fire the feature.
    pub fits: bool,
    /// Its tokens as text.
    pub tokens: Vec<String>,
    /// The feature's activation at each.
    pub activations: Vec<f32>,
}

impl Tested {
    fn piece(&self) -> Piece {
        let (tokens, activations) = (self.tokens.clone(), self.activations.clone());
        Piece { row: 0, document: 0, peak: 0, tokens, activations }
    }
}

/// Is the label kept?
pub fn revise(label: &str, shown: &[Piece], tested: &[Tested], most: f32) -> Request {
    let of = |fits: bool| {
        let pieces: Vec<Piece> = tested.iter().filter(|one| one.fits == fits).map(Tested::piece).collect();
        listed(&pieces, most)
    };
    let user = format!(
        "Phrase: {label}\n\nFirst texts:\n{}\n\nNew texts that fit the phrase:\n{}\n\nNew texts that only come near:\n{}",
        listed(shown, most),
        of(true),
        of(false)
    );
    request(REVISE, user, 0)
}

/// New texts of what the label says.
pub fn write(label: &str, samples: &[String]) -> Request {
    request(WRITE, format!("{}Kind: {label}\n\nWrite {WRITTEN} texts.", manner(samples)), 0)
}

/// Which question a judge is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// Does it fire in this text?
    Detection,
    /// Are these the tokens on which it does?
    Fuzzing,
    /// Was it turned up while this text was written?
    Intervention,
}

impl Question {
    /// The score that it comes to.
    pub const fn name(self) -> &'static str {
        match self {
            Question::Detection => "detection",
            Question::Fuzzing => "fuzzing",
            Question::Intervention => "intervention",
        }
    }
}

/// Asks a judge about texts.
pub fn judge(question: Question, label: &str, texts: &[&str]) -> Request {
    let system = match question {
        Question::Detection => DETECT,
        Question::Fuzzing => FUZZ,
        Question::Intervention => SAY,
    };
    let lines = texts.iter().enumerate().map(|(at, text)| format!("{}. {text}", at + 1));
    let lines = lines.collect::<Vec<_>>().join("\n");
    request(system, format!("Phrase: {label}\n\n{} texts:\n{lines}", texts.len()), OF_TWO)
}

/// How strongly does it fire on every token of this text?
pub fn simulate(label: &str, tokens: &[String]) -> Request {
    let whole = one_line(&tokens.concat());
    // Quoted, so that blanks and line breaks are seen.
    let lines = tokens.iter().enumerate().map(|(at, token)| format!("{}: {token:?}", at + 1));
    let lines = lines.collect::<Vec<_>>().join("\n");
    request(SIMULATE, format!("Phrase: {label}\n\nText: {whole}\n\n{} tokens:\n{lines}", tokens.len()), OF_TEN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marked(tokens: &[&str], marks: &[usize]) -> String {
        let tokens: Vec<String> = tokens.iter().map(|token| (*token).to_owned()).collect();
        line(&tokens, &(0..tokens.len()).map(|at| marks.contains(&at)).collect::<Vec<_>>())
    }

    #[test]
    fn marks_stand_at_words_and_neighbours_share_them() {
        assert_eq!(marked(&[" the", " red", " dog", "."], &[1, 2]), "the <<red dog>>.");
        assert_eq!(marked(&[" a", "\n", "b\u{1b}"], &[1, 2]), "a<<⏎b>>");
        assert_eq!(marked(&["x", " y"], &[0]), "<<x>> y");
        assert_eq!(marked(&["x"], &[]), "x");
    }

    #[test]
    fn strength_is_told_in_ten_degrees() {
        assert_eq!([0.0, 0.01, 5.0, 5.1, 10.0, 12.0].map(|a| degree(a, 10.0)), [0, 1, 5, 6, 10, 10]);
        assert_eq!(degree(1.0, 0.0), 0);
    }
}
