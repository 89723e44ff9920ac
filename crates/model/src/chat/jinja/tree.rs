//! What does a template consist of?
//!
//! Statements and expressions as Jinja2's `nodes`, with the line of each expression and how deep it nests.

use std::sync::Arc;

/// An expression.
#[derive(Debug)]
pub(super) struct Expr {
    pub(super) kind: Kind,
    pub(super) line: u32,
    /// Levels of expressions in it, itself among them.
    pub(super) height: u16,
}

/// What an expression is.
#[derive(Debug)]
pub(super) enum Kind {
    Text(Arc<str>),
    Int(i128),
    Float(f64),
    Bool(bool),
    None,
    Name(String),
    List(Vec<Expr>),
    Tuple(Vec<Expr>),
    Dict(Vec<(Expr, Expr)>),
    Attribute(Box<Expr>, String),
    Item(Box<Expr>, Box<Expr>),
    Slice(Box<[Option<Expr>; 3]>),
    Call(Box<Expr>, Arguments),
    /// Without a value where a block is filtered.
    Filter(Option<Box<Expr>>, String, Arguments),
    Test(Box<Expr>, String, Arguments),
    Not(Box<Expr>),
    Sign(char, Box<Expr>),
    Binary(&'static str, Box<Expr>, Box<Expr>),
    And(Box<Expr>, Box<Expr>),
    Or(Box<Expr>, Box<Expr>),
    Concat(Vec<Expr>),
    Compare(Box<Expr>, Vec<(&'static str, Expr)>),
    /// Value, condition, other value.
    Choice(Box<Expr>, Box<Expr>, Option<Box<Expr>>),
}

/// What is handed to a function, a filter or a test.
#[derive(Debug, Default)]
pub(super) struct Arguments {
    pub(super) positional: Vec<Expr>,
    pub(super) named: Vec<(String, Expr)>,
    /// `*list`
    pub(super) star: Option<Box<Expr>>,
    /// `**dict`
    pub(super) stars: Option<Box<Expr>>,
}

/// What a value is assigned to.
#[derive(Debug)]
pub(super) enum Target {
    Name(String),
    Tuple(Vec<Target>),
    /// Of a namespace.
    Attribute(String, String),
}

/// A macro, or the body of a `call` block.
#[derive(Debug)]
pub(super) struct MacroNode {
    pub(super) name: Option<String>,
    pub(super) parameters: Vec<String>,
    /// Of the last parameters.
    pub(super) defaults: Vec<Expr>,
    pub(super) body: Vec<Statement>,
    /// Whether the body names `varargs`, `kwargs` and `caller`.
    pub(super) takes: Takes,
}

/// What a macro's body asks for beside its parameters.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Takes {
    pub(super) varargs: bool,
    pub(super) kwargs: bool,
    pub(super) caller: bool,
}

/// A loop.
#[derive(Debug)]
pub(super) struct ForNode {
    pub(super) target: Target,
    pub(super) iterable: Expr,
    pub(super) test: Option<Expr>,
    pub(super) recursive: bool,
    pub(super) body: Vec<Statement>,
    pub(super) otherwise: Vec<Statement>,
}

/// A statement.
#[derive(Debug)]
pub(super) enum Statement {
    Data(String),
    Print(Expr),
    For(Box<ForNode>),
    If(Vec<(Expr, Vec<Statement>)>, Vec<Statement>),
    Set(Target, Expr),
    /// With the filter that the block's text passes.
    SetBlock(Target, Option<Expr>, Vec<Statement>),
    With(Vec<(Target, Expr)>, Vec<Statement>),
    Macro(Box<MacroNode>),
    /// The call and the body that it gets as `caller`.
    Call(Expr, Box<MacroNode>),
    Filter(Expr, Vec<Statement>),
    /// `generation` and `block`: what is set inside ends with it.
    Scope(Vec<Statement>),
    Break,
    Continue,
}
