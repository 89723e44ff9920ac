//! How template text becomes nodes. The notation is explained at each [`Node`].

use crate::concepts::Concepts;
use crate::relation::Relation;
use crate::template::{Alternative, Node, NounForm, Register};
use crate::verbs::Tense;
use std::collections::BTreeMap;
use std::iter::Peekable;
use std::str::Chars;

/// What names in templates refer to.
pub(crate) struct Names<'a> {
    pub(crate) concepts: &'a Concepts,
    pub(crate) classes: &'a BTreeMap<String, usize>,
    /// Numbers of rules; a rule may be used before it is written.
    pub(crate) rules: BTreeMap<String, usize>,
}

impl Names<'_> {
    pub(crate) fn rule(&mut self, name: &str) -> usize {
        let next = self.rules.len();
        *self.rules.entry(name.to_owned()).or_insert(next)
    }

    fn class(&self, name: &str) -> Result<usize, String> {
        self.classes.get(name).copied().ok_or_else(|| format!("there is no class `{name}`"))
    }
}

/// Reads one template.
pub(crate) fn template(text: &str, names: &mut Names<'_>) -> Result<Vec<Node>, String> {
    let mut parser = Parser { rest: text.chars().peekable(), names };
    let nodes = parser.sequence()?;
    match parser.rest.next() {
        None => Ok(nodes),
        Some(c) => Err(format!("`{c}` closes nothing; write \\{c} for the sign itself")),
    }
}

/// One alternative of a rule: `3 text` has weight 3, `text` weight 1, `3` alone is nothing at weight 3, and `3! text`
/// is taken at most once in a document.
pub(crate) fn alternative(text: &str, names: &mut Names<'_>) -> Result<Alternative, String> {
    let (head, rest) = text.split_once(' ').unwrap_or((text, ""));
    let (digits, once) = head.strip_suffix('!').map_or((head, false), |digits| (digits, true));
    let (weight, once, body) = digits.parse().map_or((1, false, text), |weight| (weight, once, rest));
    Ok(Alternative { weight, once, body: template(body, names)? })
}

struct Parser<'t, 'n, 'c> {
    rest: Peekable<Chars<'t>>,
    names: &'n mut Names<'c>,
}

impl Parser<'_, '_, '_> {
    /// Nodes up to a `|`, `)` or `>` that belongs to what surrounds them, or to the end.
    fn sequence(&mut self) -> Result<Vec<Node>, String> {
        let mut nodes = Vec::new();
        let mut text = String::new();
        while let Some(&c) = self.rest.peek() {
            if matches!(c, '|' | ')' | '>') {
                break;
            }
            self.rest.next();
            if c == '\\' {
                text.push(match self.rest.next() {
                    Some('n') => '\n',
                    Some(sign) => sign,
                    None => return Err("a template ends with \\".into()),
                });
            } else if !matches!(c, '{' | '(' | '<' | '^' | '~') {
                text.push(c);
            } else {
                flush(&mut text, &mut nodes);
                match c {
                    '{' => self.command(&mut nodes)?,
                    '(' => nodes.push(self.choice()?),
                    '<' => nodes.push(self.range()?),
                    '~' => nodes.push(self.verb()?),
                    _ => nodes.push(Node::Decided),
                }
            }
        }
        flush(&mut text, &mut nodes);
        Ok(nodes)
    }

    fn choice(&mut self) -> Result<Node, String> {
        let mut alternatives = Vec::new();
        loop {
            let weight = self.weight()?;
            alternatives.push(Alternative { weight, once: false, body: self.sequence()? });
            match self.rest.next() {
                Some('|') => {}
                Some(')') => return Ok(Node::Choice(alternatives)),
                _ => return Err("a ( is not closed".into()),
            }
        }
    }

    /// `3:` at the beginning of an alternative.
    fn weight(&mut self) -> Result<u32, String> {
        let mut ahead = self.rest.clone();
        let mut digits = String::new();
        while let Some(digit) = ahead.next_if(char::is_ascii_digit) {
            digits.push(digit);
        }
        if digits.is_empty() || ahead.next() != Some(':') {
            return Ok(1);
        }
        self.rest = ahead;
        digits.parse().map_err(|_| format!("the weight {digits} is too large"))
    }

    fn range(&mut self) -> Result<Node, String> {
        let name = self.until(':')?;
        let (name, decidable) = name.strip_suffix('?').map_or((&name[..], true), |name| (name, false));
        let concept = self.names.concepts.named(name)?;
        let body = self.sequence()?;
        match self.rest.next() {
            Some('>') => Ok(Node::Range { concept, decidable, body }),
            _ => Err(format!("<{name}: is not closed")),
        }
    }

    fn verb(&mut self) -> Result<Node, String> {
        let mut base = String::new();
        while let Some(letter) = self.rest.next_if(char::is_ascii_lowercase) {
            base.push(letter);
        }
        let plural = self.rest.next_if_eq(&'+').is_some();
        if base.is_empty() { Err("~ stands before no verb".into()) } else { Ok(Node::Verb { base, plural }) }
    }

    fn until(&mut self, end: char) -> Result<String, String> {
        let mut text = String::new();
        loop {
            match self.rest.next() {
                Some(c) if c == end => return Ok(text),
                Some(c) => text.push(c),
                None => return Err(format!("`{end}` is missing behind `{text}`")),
            }
        }
    }

    fn command(&mut self, nodes: &mut Vec<Node>) -> Result<(), String> {
        let text = self.until('}')?;
        match &text[..] {
            "a" => nodes.push(Node::Article),
            "cap" => nodes.push(Node::Capital),
            "raw" => nodes.push(Node::Raw(true)),
            "/raw" => nodes.push(Node::Raw(false)),
            "past" => nodes.push(Node::Tense(Tense::Past)),
            "present" => nodes.push(Node::Tense(Tense::Present)),
            _ => self.longer_command(&text, nodes)?,
        }
        Ok(())
    }

    fn longer_command(&mut self, text: &str, nodes: &mut Vec<Node>) -> Result<(), String> {
        if let Some(fact) = text.strip_prefix('!') {
            nodes.push(fact_node(fact)?);
        } else if let [verb, rest @ ..] = &text.split_whitespace().collect::<Vec<_>>()[..]
            && !rest.is_empty()
        {
            nodes.push(self.action(verb, rest)?);
        } else if let Some((target, value)) = text.split_once('=') {
            self.binding(target, value, nodes)?;
        } else if text.starts_with(|c: char| c.is_ascii_uppercase()) {
            nodes.push(reference(text)?);
        } else if let Some((class, form)) = text.split_once(':') {
            let (register, class) = (Register::NAMELESS, self.names.class(class)?);
            nodes.extend([Node::Bind { register, class }, refer(register, form)?]);
        } else {
            nodes.push(Node::Rule(self.names.rule(text)));
        }
        Ok(())
    }

    fn action(&self, verb: &str, arguments: &[&str]) -> Result<Node, String> {
        match (verb, arguments) {
            ("role", [who, concept]) => {
                Ok(Node::Role { register: register(who)?, concept: self.names.concepts.named(concept)? })
            }
            ("hold", [what, class]) => Ok(Node::Hold { register: register(what)?, class: self.names.class(class)? }),
            ("drift", [what, stays]) => {
                let stays = stays.parse().map_err(|_| format!("`{stays}` is no weight"))?;
                Ok(Node::Drift { register: register(what)?, stays })
            }
            ("swap", [first, second]) => Ok(Node::Swap(register(first)?, register(second)?)),
            _ => Err(format!("unknown command {{{verb} ...}}; known are role, swap, hold and drift")),
        }
    }

    fn binding(&self, target: &str, value: &str, nodes: &mut Vec<Node>) -> Result<(), String> {
        if let Some((left, right)) = value.split_once(['+', '-']) {
            let (target, wrong) = target.strip_suffix('!').map_or((target, false), |target| (target, true));
            let (left, right, minus) = (register(left)?, register(right)?, value.contains('-'));
            nodes.push(Node::Sum { result: register(target)?, left, right, minus, wrong });
            return Ok(());
        }
        let register = register(target)?;
        let (class, form) = value.split_once(':').map_or((value, None), |(class, form)| (class, Some(form)));
        nodes.push(match class.split_once('.') {
            Some((owner, class)) => Node::BindOf { register, owner: self::register(owner)?, class: class.to_owned() },
            None => Node::Bind { register, class: self.names.class(class)? },
        });
        form.map_or(Ok(()), |form| refer(register, form).map(|node| nodes.push(node)))
    }
}

fn flush(text: &mut String, nodes: &mut Vec<Node>) {
    if !text.is_empty() {
        nodes.push(Node::Text(std::mem::take(text)));
    }
}

fn register(name: &str) -> Result<Register, String> {
    Register::named(name).ok_or_else(|| format!("`{name}` is no register, expected a letter A to Z"))
}

fn refer(register: Register, form: &str) -> Result<Node, String> {
    let (form, decidable) = form.strip_suffix('?').map_or((form, true), |form| (form, false));
    let form = NounForm::named(form).ok_or_else(|| format!("unknown form `{form}`"))?;
    Ok(Node::Refer { register, form, decidable })
}

fn fact_node(text: &str) -> Result<Node, String> {
    let mut words = text.split_whitespace();
    let name = words.next().unwrap_or_default();
    let relation = Relation::named(name).ok_or_else(|| format!("unknown relation `{name}`"))?;
    let arguments: Vec<Register> = words.map(register).collect::<Result<_, _>>()?;
    let expected = relation.arguments();
    match arguments.len() {
        n if n == expected => Ok(Node::Fact { relation, arguments }),
        n => Err(format!("{name} takes {expected} registers, found {n}")),
    }
}

/// `X`, `X:form`, `X.attribute`, `X+Y`, `X+Y:they`.
fn reference(text: &str) -> Result<Node, String> {
    if let Some((first, second)) = text.split_once('+') {
        let (second, form) = second.split_once(':').map_or((second, ""), |(second, form)| (second, form));
        let always_pronoun = match form {
            "" => false,
            "they" => true,
            _ => return Err(format!("unknown form `{form}` of a pair, expected they")),
        };
        return Ok(Node::Pair { first: register(first)?, second: register(second)?, always_pronoun });
    }
    if let Some((name, attribute)) = text.split_once('.') {
        return Ok(Node::Attribute { register: register(name)?, attribute: attribute.to_owned() });
    }
    let (name, form) = text.split_once(':').unwrap_or((text, ""));
    refer(register(name)?, form)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Vec<Node>, String> {
        let concepts = Concepts::parse("t", "dog | mention | | x").unwrap();
        let classes = BTreeMap::from([("animal".to_owned(), 4)]);
        template(text, &mut Names { concepts: &concepts, classes: &classes, rules: BTreeMap::new() })
    }

    #[test]
    fn every_notation_has_its_node() {
        let x = Register(23);
        let text = |text: &str| Node::Text(text.to_owned());
        let check = |source, nodes: &[Node]| assert_eq!(parsed(source).unwrap(), nodes, "{source}");
        check("a \\{b\\}", &[text("a {b}")]);
        check("{X=animal:a}", &[Node::Bind { register: x, class: 4 }, refer(x, "a").unwrap()]);
        check("{X:the?}", &[Node::Refer { register: x, form: NounForm::Definite, decidable: false }]);
        check("{X.does}", &[Node::Attribute { register: x, attribute: "does".into() }]);
        check("~be+ ", &[Node::Verb { base: "be".into(), plural: true }, text(" ")]);
        check("{!has A B}", &[Node::Fact { relation: Relation::Has, arguments: vec![Register(0), Register(1)] }]);
        check(
            "{C!=A-B}",
            &[Node::Sum { result: Register(2), left: Register(0), right: Register(1), minus: true, wrong: true }],
        );
        check("{X=O.animal}", &[Node::BindOf { register: x, owner: Register(14), class: "animal".into() }]);
        check("{hold X animal}", &[Node::Hold { register: x, class: 4 }]);
        check("{drift X 13}", &[Node::Drift { register: x, stays: 13 }]);
        let alternative = |weight, body: &str| Alternative { weight, once: false, body: vec![text(body)] };
        check("(3:x|7)", &[Node::Choice(vec![alternative(3, "x"), alternative(1, "7")])]);
        let body = vec![text("d"), Node::Decided, text("og")];
        check("<dog?:d^og>", &[Node::Range { concept: untangle_schema::ConceptId(0), decidable: false, body }]);
    }

    #[test]
    fn mistakes_are_named() {
        let check = |source, part: &str| {
            let fault = parsed(source).unwrap_err();
            assert!(fault.contains(part), "{source}: {fault}");
        };
        check("(a|b", "a ( is not closed");
        check("a)", "`)` closes nothing");
        check("<cat:x>", "no concept `cat`");
        check("<dog:x", "<dog: is not closed");
        check("{X", "`}` is missing");
        check("{X=plant}", "no class `plant`");
        check("{X:them}", "unknown form `them`");
        check("{!owns A B}", "unknown relation `owns`");
        check("{!has A}", "has takes 2 registers, found 1");
        check("{turn A B}", "unknown command {turn ...}");
        check("{role a dog}", "`a` is no register");
        check("{drift X often}", "`often` is no weight");
        check("{hold X plant}", "no class `plant`");
        check("~", "~ stands before no verb");
    }

    #[test]
    fn weights_stand_before_what_they_weigh() {
        let concepts = Concepts::parse("t", "").unwrap();
        let mut names = Names { concepts: &concepts, classes: &BTreeMap::new(), rules: BTreeMap::new() };
        let mut check = |text, weight, once, body: &[Node]| {
            assert_eq!(alternative(text, &mut names).unwrap(), Alternative { weight, once, body: body.to_vec() });
        };
        let run = Node::Text("they run".into());
        check("3 they run", 3, false, std::slice::from_ref(&run));
        check("2! they run", 2, true, std::slice::from_ref(&run));
        check("they run", 1, false, &[run]);
        check("3", 3, false, &[]);
    }
}
