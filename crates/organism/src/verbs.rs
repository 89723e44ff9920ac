//! How verbs agree: past or present, one or many.

/// Tense of a document's narration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tense {
    Past,
    Present,
}

/// Base form, past, present third person singular. Only `be` has a plural of its own in the past.
const IRREGULAR: &[(&str, &str, &str)] = &[
    ("become", "became", "becomes"),
    ("begin", "began", "begins"),
    ("bite", "bit", "bites"),
    ("blow", "blew", "blows"),
    ("break", "broke", "breaks"),
    ("bring", "brought", "brings"),
    ("build", "built", "builds"),
    ("buy", "bought", "buys"),
    ("can", "could", "can"),
    ("catch", "caught", "catches"),
    ("clap", "clapped", "claps"),
    ("come", "came", "comes"),
    ("do", "did", "does"),
    ("draw", "drew", "draws"),
    ("drink", "drank", "drinks"),
    ("drive", "drove", "drives"),
    ("eat", "ate", "eats"),
    ("fall", "fell", "falls"),
    ("feed", "fed", "feeds"),
    ("feel", "felt", "feels"),
    ("find", "found", "finds"),
    ("fly", "flew", "flies"),
    ("forget", "forgot", "forgets"),
    ("get", "got", "gets"),
    ("give", "gave", "gives"),
    ("go", "went", "goes"),
    ("grow", "grew", "grows"),
    ("have", "had", "has"),
    ("hear", "heard", "hears"),
    ("hide", "hid", "hides"),
    ("hit", "hit", "hits"),
    ("hold", "held", "holds"),
    ("hug", "hugged", "hugs"),
    ("hum", "hummed", "hums"),
    ("keep", "kept", "keeps"),
    ("know", "knew", "knows"),
    ("learn", "learned", "learns"),
    ("leave", "left", "leaves"),
    ("lend", "lent", "lends"),
    ("lie", "lay", "lies"),
    ("light", "lit", "lights"),
    ("lose", "lost", "loses"),
    ("make", "made", "makes"),
    ("mean", "meant", "means"),
    ("meet", "met", "meets"),
    ("nod", "nodded", "nods"),
    ("pay", "paid", "pays"),
    ("pet", "petted", "pets"),
    ("put", "put", "puts"),
    ("read", "read", "reads"),
    ("ride", "rode", "rides"),
    ("ring", "rang", "rings"),
    ("rise", "rose", "rises"),
    ("run", "ran", "runs"),
    ("say", "said", "says"),
    ("see", "saw", "sees"),
    ("sell", "sold", "sells"),
    ("send", "sent", "sends"),
    ("shake", "shook", "shakes"),
    ("shine", "shone", "shines"),
    ("show", "showed", "shows"),
    ("sing", "sang", "sings"),
    ("sit", "sat", "sits"),
    ("sleep", "slept", "sleeps"),
    ("smell", "smelled", "smells"),
    ("speak", "spoke", "speaks"),
    ("spin", "spun", "spins"),
    ("stand", "stood", "stands"),
    ("steal", "stole", "steals"),
    ("step", "stepped", "steps"),
    ("stop", "stopped", "stops"),
    ("strike", "struck", "strikes"),
    ("sweep", "swept", "sweeps"),
    ("swim", "swam", "swims"),
    ("take", "took", "takes"),
    ("teach", "taught", "teaches"),
    ("tell", "told", "tells"),
    ("thank", "thanked", "thanks"),
    ("think", "thought", "thinks"),
    ("throw", "threw", "throws"),
    ("trot", "trotted", "trots"),
    ("understand", "understood", "understands"),
    ("wag", "wagged", "wags"),
    ("wake", "woke", "wakes"),
    ("wear", "wore", "wears"),
    ("weep", "wept", "weeps"),
    ("will", "would", "will"),
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
