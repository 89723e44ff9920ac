//! Which module of a crate may use which: no cycle of more than two modules, so that each can be read from below.
//!
//! A module is a file. What it uses is read from its code outside tests: `use` lines, and paths that begin with `crate`, `super`,
//! `self` or the name of one of its own modules.

use crate::support::workspace_root;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Modules of a cycle at most.
const LARGEST: usize = 2;

type Graph = BTreeMap<String, BTreeSet<String>>;

/// The code of a file without comments, without what is compiled for tests alone and without `in` of visibilities: who may see
/// an item uses it or not.
fn code_of(text: &str) -> String {
    let code = text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n");
    let mut pieces = code.split("#[cfg(test)]");
    let first = pieces.next().unwrap_or_default().to_owned();
    let code = pieces.fold(first, |kept, piece| kept + &piece[end_of_item(piece)..]);
    let mut seen_by = code.split("pub(in ");
    let first = seen_by.next().unwrap_or_default().to_owned();
    seen_by.fold(first, |kept, piece| kept + "pub " + piece.split_once(')').map_or("", |(_, rest)| rest))
}

/// Where the item ends that some code begins with.
fn end_of_item(code: &str) -> usize {
    let mut depth = 0;
    for (at, letter) in code.char_indices() {
        match letter {
            ';' if depth == 0 => return at + 1,
            '{' => depth += 1,
            '}' if depth == 1 => return at + 1,
            '}' => depth -= 1,
            _ => {}
        }
    }
    code.len()
}

/// The modules below a folder with their code, by path; that of the crate itself is empty.
fn read(folder: &Path, module: &str, into: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).expect("a folder of code") {
        let path = entry.expect("an entry").path();
        let stem = path.file_stem().and_then(|stem| stem.to_str()).expect("a name").to_owned();
        let of = |name: &str| if module.is_empty() { name.to_owned() } else { format!("{module}::{name}") };
        if path.is_dir() {
            read(&path, &of(&stem), into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = if ["lib", "main", "mod"].contains(&stem.as_str()) { module.to_owned() } else { of(&stem) };
            into.insert(name, code_of(&fs::read_to_string(&path).expect("a file of code")));
        }
    }
}

/// The paths of a `use`, which may be a tree of braces.
fn paths_of_use(tree: &str) -> Vec<String> {
    let Some((prefix, rest)) = tree.split_once('{') else { return vec![tree.trim().to_owned()] };
    let body = rest.rsplit_once('}').map_or(rest, |(body, _)| body);
    let (mut depth, mut items) = (0, vec![String::new()]);
    for letter in body.chars() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        match letter {
            ',' if depth == 0 => items.push(String::new()),
            _ => items.last_mut().expect("one at least").push(letter),
        }
    }
    let inner = items.iter().filter(|item| !item.trim().is_empty()).flat_map(|item| paths_of_use(item.trim()));
    inner.map(|path| format!("{}{path}", prefix.trim())).collect()
}

/// Every path of some code that may name a module.
fn paths(code: &str) -> Vec<String> {
    let mut all = Vec::new();
    for (at, _) in code.match_indices("use ") {
        let before = code[..at].chars().next_back();
        if before.is_none_or(|c| c.is_whitespace() || c == ')') {
            let tree = code[at + 4..].split(';').next().unwrap_or_default();
            all.extend(paths_of_use(tree));
        }
    }
    let is_of_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    all.extend(
        code.split(|c| !is_of_path(c)).filter(|word| word.contains("::") && !word.ends_with("::")).map(str::to_owned),
    );
    all
}

/// The module that a path in `module` names, as deep as there are modules.
fn resolved(path: &str, module: &str, modules: &BTreeMap<String, String>) -> Option<String> {
    let path = path.split(" as ").next().unwrap_or_default();
    let mut steps = path.split("::").map(str::trim).filter(|step| !step.is_empty()).peekable();
    let mut at: Vec<&str> = module.split("::").filter(|step| !step.is_empty()).collect();
    let is_module = |at: &[&str], step: &str| {
        let deeper = at.iter().copied().chain([step]).collect::<Vec<_>>().join("::");
        modules.contains_key(&deeper)
    };
    match *steps.peek()? {
        "crate" => {
            at.clear();
            steps.next();
        }
        "self" => drop(steps.next()),
        "super" => {
            while steps.peek() == Some(&"super") {
                at.pop();
                steps.next();
            }
        }
        first if is_module(&at, first) => {}
        _ => return None,
    }
    while let Some(step) = steps.peek().copied().filter(|step| is_module(&at, step)) {
        at.push(step);
        steps.next();
    }
    Some(at.join("::"))
}

fn graph_of(folder: &Path) -> Graph {
    let mut all = BTreeMap::new();
    read(folder, "", &mut all);
    // What no code declares is there for tests alone.
    let is_declared = |module: &str| match module.rsplit_once("::").unwrap_or(("", module)) {
        (_, "") => true,
        (parent, name) => all.get(parent).is_some_and(|code: &String| code.contains(&format!("mod {name};"))),
    };
    let modules: BTreeMap<String, String> =
        all.iter().filter(|(module, _)| is_declared(module)).map(|(m, c)| (m.clone(), c.clone())).collect();
    let used = |(module, code): (&String, &String)| {
        let used = paths(code).iter().filter_map(|path| resolved(path, module, &modules)).collect::<BTreeSet<_>>();
        (module.clone(), used.into_iter().filter(|used| used != module).collect())
    };
    modules.iter().map(used).collect()
}

/// What can be reached from a module.
fn reached(graph: &Graph, from: &str) -> BTreeSet<String> {
    let (mut seen, mut open) = (BTreeSet::new(), vec![from.to_owned()]);
    while let Some(module) = open.pop() {
        for next in graph.get(&module).into_iter().flatten() {
            if seen.insert(next.clone()) {
                open.push(next.clone());
            }
        }
    }
    seen
}

/// Sets of modules of which each reaches all others, the largest first.
fn cycles(graph: &Graph) -> Vec<Vec<String>> {
    let reach: BTreeMap<&String, BTreeSet<String>> =
        graph.keys().map(|module| (module, reached(graph, module))).collect();
    let mut cycles: BTreeSet<Vec<String>> = BTreeSet::new();
    for (module, reached) in &reach {
        let back = |other: &&String| *other == *module || (reached.contains(*other) && reach[other].contains(*module));
        let cycle: Vec<String> = graph.keys().filter(back).cloned().collect();
        if cycle.len() > 1 {
            cycles.insert(cycle);
        }
    }
    let mut cycles: Vec<_> = cycles.into_iter().collect();
    cycles.sort_by_key(|cycle| std::cmp::Reverse(cycle.len()));
    cycles
}

#[test]
fn no_crate_has_a_cycle_of_more_than_two_modules() {
    let mut told = Vec::new();
    for entry in fs::read_dir(workspace_root().join("crates")).expect("the crates") {
        let folder = entry.expect("an entry").path();
        let name = folder.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
        let larger: Vec<_> =
            cycles(&graph_of(&folder.join("src"))).into_iter().filter(|cycle| cycle.len() > LARGEST).collect();
        if !larger.is_empty() {
            told.push(format!("{name} has cycles of more than {LARGEST} modules: {larger:?}"));
        }
    }
    assert!(told.is_empty(), "{}", told.join("\n"));
}

#[test]
fn cycles_are_found_through_every_form_of_a_path() {
    let code = [
        ("", "mod a; pub use a::Thing;"),
        ("a", "use crate::b::{self, deep::{One, Two}};"),
        ("b", "mod deep; fn f() { deep::g() }"),
        ("b::deep", "pub fn g() { super::super::c::h() }"),
        ("c", "// crate::b\nuse crate::a;\npub fn h() {}"),
        ("d", "pub(crate) use crate::a::Thing;\n#[cfg(test)]\nmod tests { use crate::e; }"),
        ("e", "use crate::d;\npub(in crate::a) fn i() {}"),
    ];
    let modules: BTreeMap<String, String> = code.map(|(name, code)| (name.to_owned(), code_of(code))).into();
    let used = |module: &str| -> BTreeSet<String> {
        paths(&modules[module]).iter().filter_map(|path| resolved(path, module, &modules)).collect()
    };
    assert_eq!(used("a"), ["b", "b::deep"].map(str::to_owned).into());
    assert_eq!(used("d"), ["a"].map(str::to_owned).into());
    assert_eq!(used("e"), ["d"].map(str::to_owned).into());
    let graph: Graph = modules.keys().map(|module| (module.clone(), used(module))).collect();
    assert_eq!(cycles(&graph), [["a", "b", "b::deep", "c"].map(str::to_owned).to_vec()]);
}
