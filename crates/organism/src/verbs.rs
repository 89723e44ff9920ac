//! How verbs agree: past or present, one or many.

/// Tense of a document's narration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tense {
    Past,
    Present,
}

/// Base form, past singular, present third person singular; and where they differ, past and present plural.
const IRREGULAR: &[(&str, &str, &str)] = &[
    ("begin", "began", "begins"),
    ("break", "broke", "breaks"),
    ("bring", "brought", "brings"),
    ("build", "built", "builds"),
    ("buy", "bought", "buys"),
    ("can", "could", "can"),
    ("catch", "caught", "catches"),
    ("come", "came", "comes"),
    ("do", "did", "does"),
    ("drink", "drank", "drinks"),
    ("drive", "drove", "drives"),
    ("eat", "ate", "eats"),
    ("fall", "fell", "falls"),
    ("feed", "fed", "feeds"),
    ("feel", "felt", "feels"),
    ("find", "found", "finds"),
    ("fly", "flew", "flies"),
    ("get", "got", "gets"),
    ("give", "gave", "gives"),
    ("go", "went", "goes"),
    ("grow", "grew", "grows"),
    ("have", "had", "has"),
    ("hear", "heard", "hears"),
    ("hide", "hid", "hides"),
    ("hit", "hit", "hits"),
    ("hold", "held", "holds"),
    ("keep", "kept", "keeps"),
    ("know", "knew", "knows"),
    ("leave", "left", "leaves"),
    ("lend", "lent", "lends"),
    ("lie", "lay", "lies"),
    ("light", "lit", "lights"),
    ("lose", "lost", "loses"),
    ("make", "made", "makes"),
    ("meet", "met", "meets"),
    ("pay", "paid", "pays"),
    ("put", "put", "puts"),
    ("read", "read", "reads"),
    ("ride", "rode", "rides"),
    ("run", "ran", "runs"),
    ("say", "said", "says"),
    ("see", "saw", "sees"),
    ("sell", "sold", "sells"),
    ("send", "sent", "sends"),
    ("shine", "shone", "shines"),
    ("sing", "sang", "sings"),
    ("sit", "sat", "sits"),
    ("sleep", "slept", "sleeps"),
    ("smell", "smelled", "smells"),
    ("spin", "spun", "spins"),
    ("stand", "stood", "stands"),
    ("steal", "stole", "steals"),
    ("stop", "stopped", "stops"),
    ("swim", "swam", "swims"),
    ("take", "took", "takes"),
    ("teach", "taught", "teaches"),
    ("tell", "told", "tells"),
    ("think", "thought", "thinks"),
    ("throw", "threw", "throws"),
    ("win", "won", "wins"),
    ("write", "wrote", "writes"),
];

/// The form of a verb for a tense and a number.
pub(crate) fn conjugate(base: &str, tense: Tense, plural: bool) -> String {
    if base == "be" {
        let form = match (tense, plural) {
            (Tense::Past, false) => "was",
            (Tense::Past, true) => "were",
            (Tense::Present, false) => "is",
            (Tense::Present, true) => "are",
        };
        return form.to_owned();
    }
    let irregular = IRREGULAR.iter().find(|(verb, ..)| *verb == base);
    match (tense, irregular) {
        (Tense::Present, _) if plural => base.to_owned(),
        (Tense::Present, Some((_, _, third))) => (*third).to_owned(),
        (Tense::Past, Some((_, past, _))) => (*past).to_owned(),
        (Tense::Present, None) => regular_third(base),
        (Tense::Past, None) => regular_past(base),
    }
}

fn regular_past(base: &str) -> String {
    match base.strip_suffix('y') {
        _ if base.ends_with('e') => format!("{base}d"),
        Some(stem) if !stem.ends_with(['a', 'e', 'o', 'u']) => format!("{stem}ied"),
        _ => format!("{base}ed"),
    }
}

fn regular_third(base: &str) -> String {
    match base.strip_suffix('y') {
        _ if base.ends_with(['s', 'x', 'o']) || base.ends_with("sh") || base.ends_with("ch") => format!("{base}es"),
        Some(stem) if !stem.ends_with(['a', 'e', 'o', 'u']) => format!("{stem}ies"),
        _ => format!("{base}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let check = |base, past: &str, third: &str, plural: &str| {
            assert_eq!(conjugate(base, Tense::Past, false), past);
            assert_eq!(conjugate(base, Tense::Present, false), third);
            assert_eq!(conjugate(base, Tense::Present, true), plural);
        };
        check("walk", "walked", "walks", "walk");
        check("cry", "cried", "cries", "cry");
        check("play", "played", "plays", "play");
        check("wash", "washed", "washes", "wash");
        check("bake", "baked", "bakes", "bake");
        check("go", "went", "goes", "go");
        check("be", "was", "is", "are");
        assert_eq!(conjugate("be", Tense::Past, true), "were");
    }

    #[test]
    fn the_table_is_sorted_and_without_repetition() {
        assert!(IRREGULAR.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }
}
