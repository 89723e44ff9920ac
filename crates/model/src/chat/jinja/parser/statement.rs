//! How is a statement read?

use super::super::budget::Result;
use super::super::lexer::Word;
use super::super::tree::{ForNode, Kind, MacroNode, Statement, Takes, Target};
use super::{Parser, said};

impl Parser {
    /// Statements up to a tag of these names, which is the next word then; up to the end where there are none.
    pub(super) fn statements(&mut self, ends: &[&str]) -> Result<Vec<Statement>> {
        self.nested(|parser| parser.statements_inside(ends))
    }

    fn statements_inside(&mut self, ends: &[&str]) -> Result<Vec<Statement>> {
        let mut body = Vec::new();
        loop {
            match self.peek() {
                Word::Data(_) => {
                    if let Word::Data(text) = self.next() {
                        body.push(Statement::Data(text));
                    }
                }
                Word::VariableBegin => {
                    self.next();
                    let expression = self.tuple(true, &[])?;
                    self.expect(&Word::VariableEnd, "end of print statement")?;
                    body.push(Statement::Print(expression));
                }
                Word::BlockBegin => {
                    self.next();
                    if ends.iter().any(|end| self.is_name(end)) {
                        return Ok(body);
                    }
                    self.statement(&mut body)?;
                    self.expect(&Word::BlockEnd, "end of statement block")?;
                }
                _ if ends.is_empty() => return Ok(body),
                _ => return self.fail(format!("unexpected end of template: looking for '{}'", ends.join("' or '"))),
            }
        }
    }

    /// A block's statements, with the tag that ends it.
    fn body(&mut self, end: &str) -> Result<Vec<Statement>> {
        self.open_body()?;
        let body = self.statements(&[end])?;
        self.next();
        Ok(body)
    }

    fn open_body(&mut self) -> Result<()> {
        self.skip_operator(":");
        self.expect(&Word::BlockEnd, "end of statement block")
    }

    fn statement(&mut self, body: &mut Vec<Statement>) -> Result<()> {
        let line = self.line();
        let name = self.any_name()?;
        body.push(match name.as_str() {
            "for" => self.for_loop()?,
            "if" => self.condition()?,
            "set" => self.set()?,
            "with" => self.with()?,
            "macro" => {
                let name = self.any_name()?;
                Statement::Macro(Box::new(self.macro_node(Some(name), "endmacro")?))
            }
            "call" => self.call_block()?,
            "filter" => {
                let filter = self.filters(None, true)?;
                Statement::Filter(filter, self.body("endfilter")?)
            }
            "generation" => Statement::Scope(self.outside_of_loops(|parser| parser.body("endgeneration"))?),
            "block" => {
                let name = self.any_name()?;
                let mut sees_all = self.inside_for == 0;
                while self.is_name("scoped") || self.is_name("required") {
                    sees_all |= self.is_name("scoped");
                    self.next();
                }
                if !sees_all {
                    return self.fail("a 'block' inside a loop is supported only as 'scoped'");
                }
                let inside = self.outside_of_loops(|parser| parser.body("endblock"))?;
                self.skip_name(&name);
                Statement::Scope(inside)
            }
            "print" => return self.print(body),
            "break" | "continue" if self.loops == 0 => return self.fail(format!("'{name}' outside a loop")),
            "break" => Statement::Break,
            "continue" => Statement::Continue,
            "extends" | "include" | "import" | "from" => return self.fail("no loader for this environment specified"),
            // Nothing is escaped anyway.
            "autoescape" if self.skip_name("false") || self.skip_name("False") => {
                Statement::Scope(self.body("endautoescape")?)
            }
            "autoescape" => return self.fail("the tag 'autoescape' is supported only with false"),
            _ => {
                return Err(super::Failure::new(format!("Encountered unknown tag '{}'.", said(&name))).at(line));
            }
        });
        Ok(())
    }

    /// Reads what no loop around it can be broken from: Jinja2 makes a function of it.
    fn outside_of_loops<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let loops = std::mem::take(&mut self.loops);
        let found = read(self);
        self.loops = loops;
        found
    }

    fn print(&mut self, body: &mut Vec<Statement>) -> Result<()> {
        let mut first = true;
        while *self.peek() != Word::BlockEnd {
            if !first {
                self.expect_operator(",")?;
            }
            first = false;
            body.push(Statement::Print(self.expression()?));
        }
        Ok(())
    }

    fn for_loop(&mut self) -> Result<Statement> {
        self.inside_for += 1;
        let target = self.target(&["in"], false)?;
        self.expect_name("in")?;
        let iterable = self.tuple(false, &["recursive"])?;
        let test = if self.skip_name("if") { Some(self.expression()?) } else { None };
        let recursive = self.skip_name("recursive");
        self.open_body()?;
        self.loops += 1;
        let body = self.statements(&["endfor", "else"])?;
        self.loops -= 1;
        let otherwise = if self.skip_name("else") { self.body("endfor")? } else { Vec::new() };
        self.skip_name("endfor");
        self.inside_for -= 1;
        Ok(Statement::For(Box::new(ForNode { target, iterable, test, recursive, body, otherwise })))
    }

    fn condition(&mut self) -> Result<Statement> {
        self.soft += 1;
        let mut branches = Vec::new();
        let mut otherwise = Vec::new();
        loop {
            let test = self.tuple(false, &[])?;
            self.open_body()?;
            branches.push((test, self.statements(&["elif", "else", "endif"])?));
            if self.skip_name("elif") {
                continue;
            }
            if self.skip_name("else") {
                otherwise = self.body("endif")?;
            } else {
                self.next();
            }
            self.soft -= 1;
            return Ok(Statement::If(branches, otherwise));
        }
    }

    fn set(&mut self) -> Result<Statement> {
        let target = self.target(&[], true)?;
        if self.skip_operator("=") {
            return Ok(Statement::Set(target, self.tuple(true, &[])?));
        }
        let filter = if self.is_operator("|") { Some(self.filters(None, false)?) } else { None };
        Ok(Statement::SetBlock(target, filter, self.body("endset")?))
    }

    fn with(&mut self) -> Result<Statement> {
        let mut values = Vec::new();
        while *self.peek() != Word::BlockEnd {
            if !values.is_empty() {
                self.expect_operator(",")?;
            }
            // A block's own name may hide the loop.
            let inside_for = std::mem::take(&mut self.inside_for);
            let target = self.target(&[], false)?;
            self.inside_for = inside_for;
            self.expect_operator("=")?;
            values.push((target, self.expression()?));
        }
        Ok(Statement::With(values, self.body("endwith")?))
    }

    fn call_block(&mut self) -> Result<Statement> {
        let (parameters, defaults) = if self.is_operator("(") { self.signature()? } else { (Vec::new(), Vec::new()) };
        let call = self.expression()?;
        if !matches!(call.kind, Kind::Call(..)) {
            return self.fail("expected call");
        }
        let node = self.macro_body(None, parameters, defaults, "endcall")?;
        Ok(Statement::Call(call, Box::new(node)))
    }

    fn macro_node(&mut self, name: Option<String>, end: &str) -> Result<MacroNode> {
        let (parameters, defaults) = self.signature()?;
        self.macro_body(name, parameters, defaults, end)
    }

    fn macro_body(
        &mut self,
        name: Option<String>,
        parameters: Vec<String>,
        defaults: Vec<super::super::tree::Expr>,
        end: &str,
    ) -> Result<MacroNode> {
        // What an inner macro names counts for the outer one as well, as Jinja2 finds names.
        let outer = std::mem::take(&mut self.takes);
        let body = self.outside_of_loops(|parser| parser.body(end))?;
        let takes = self.takes;
        let without_default = parameters.len() - defaults.len();
        if takes.caller && parameters[..without_default].iter().any(|name| name == "caller") {
            return self.fail("the parameter 'caller' of a macro must be left out or have a default");
        }
        self.takes = Takes {
            varargs: outer.varargs || takes.varargs,
            kwargs: outer.kwargs || takes.kwargs,
            caller: outer.caller || takes.caller,
        };
        Ok(MacroNode { name, parameters, defaults, body, takes })
    }

    fn signature(&mut self) -> Result<(Vec<String>, Vec<super::super::tree::Expr>)> {
        let (mut parameters, mut defaults) = (Vec::new(), Vec::new());
        self.expect_operator("(")?;
        while !self.is_operator(")") {
            if !parameters.is_empty() {
                self.expect_operator(",")?;
            }
            parameters.push(self.any_name()?);
            if self.skip_operator("=") {
                defaults.push(self.expression()?);
            } else if !defaults.is_empty() {
                return self.fail("non-default argument follows default argument");
            }
        }
        self.expect_operator(")")?;
        Ok((parameters, defaults))
    }

    /// What is assigned to: a name, an attribute of a namespace, or several of them.
    fn target(&mut self, ends: &[&str], namespaces: bool) -> Result<Target> {
        let first = self.single_target(ends, namespaces)?;
        if !self.is_operator(",") {
            return Ok(first);
        }
        let mut targets = vec![first];
        while self.skip_operator(",") {
            let over = *self.peek() == Word::BlockEnd || self.is_operator("=") || self.is_operator(")");
            if over || ends.iter().any(|end| self.is_name(end)) {
                break;
            }
            targets.push(self.single_target(ends, namespaces)?);
        }
        Ok(Target::Tuple(targets))
    }

    fn single_target(&mut self, ends: &[&str], namespaces: bool) -> Result<Target> {
        if self.skip_operator("(") {
            let inside = self.nested(|parser| parser.target(ends, namespaces))?;
            self.expect_operator(")")?;
            return Ok(inside);
        }
        let name = self.any_name()?;
        if matches!(name.as_str(), "true" | "false" | "none" | "True" | "False" | "None") {
            return self.fail(format!("can't assign to '{name}'"));
        }
        if namespaces && self.skip_operator(".") {
            return Ok(Target::Attribute(name, self.any_name()?));
        }
        if name == "loop" && self.inside_for > 0 {
            return self.fail("can't assign to the special loop variable inside a loop");
        }
        Ok(Target::Name(name))
    }
}
