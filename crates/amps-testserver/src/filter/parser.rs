//! From tokens to an expression, by recursive descent (AMPS User Guide, "AMPS
//! Expressions").

use super::error::FilterError;
use super::expr::{Affix, Comparison, Expr};
use super::function::Function;
use super::lexer::{Kind, Literal, Token, tokens};
use super::pattern::Pattern;
use super::scalar::Arithmetic;
use super::value::Value;
use super::{DEPTH_MAX, LIST_MAX, NODES_MAX};
use crate::readings::Readings;

type Parsed<T = Expr> = Result<T, FilterError>;

/// Reads a whole filter.
pub(super) fn parse(text: &str, readings: Readings) -> Parsed {
    let mut parser = Parser::new(text)?;
    parser.readings = readings;
    let expr = parser.or()?;
    if parser.peek() != &Kind::End {
        return Err(parser.expected("an operator or the end"));
    }
    Ok(expr)
}

pub(super) struct Parser {
    /// An end is behind the last.
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
    readings: Readings,
}

impl Parser {
    pub(super) fn new(text: &str) -> Parsed<Self> {
        let tokens = tokens(text)?;
        // Every node has a token of its own, so this bounds the nodes as well.
        if let Some(token) = tokens.get(NODES_MAX) {
            return Err(FilterError::new(token.at, format!("a filter has at most {NODES_MAX} parts")));
        }
        Ok(Self { tokens, at: 0, depth: 0, readings: Readings::default() })
    }

    /// Whether this symbol is behind the next token.
    pub(super) fn next_is_symbol(&self, symbol: &str) -> bool {
        matches!(self.tokens.get(self.at + 1).map(|token| &token.kind), Some(Kind::Symbol(found)) if *found == symbol)
    }

    pub(super) fn expression(&mut self) -> Parsed {
        self.or()
    }

    pub(super) fn peek(&self) -> &Kind {
        &self.tokens[self.at].kind
    }

    fn byte(&self) -> usize {
        self.tokens[self.at].at
    }

    pub(super) fn take(&mut self) -> Kind {
        let kind = self.peek().clone();
        if kind != Kind::End {
            self.at += 1;
        }
        kind
    }

    pub(super) fn expected(&self, what: &str) -> FilterError {
        FilterError::new(self.byte(), format!("expected {what}, found {}", self.peek().describe()))
    }

    fn is_word(&self, word: &str) -> bool {
        matches!(self.peek(), Kind::Word(found) if found == word)
    }

    /// Whether the next token was this word; it is taken then.
    pub(super) fn takes_word(&mut self, word: &str) -> bool {
        let takes = self.is_word(word);
        self.at += usize::from(takes);
        takes
    }

    fn takes_symbol(&mut self, symbol: &str) -> bool {
        let takes = matches!(self.peek(), Kind::Symbol(found) if *found == symbol);
        self.at += usize::from(takes);
        takes
    }

    fn word(&mut self, word: &str) -> Parsed<()> {
        if self.takes_word(word) { Ok(()) } else { Err(self.expected(word)) }
    }

    pub(super) fn symbol(&mut self, symbol: &str) -> Parsed<()> {
        if self.takes_symbol(symbol) { Ok(()) } else { Err(self.expected(&format!("'{symbol}'"))) }
    }

    /// Reads something one level further down.
    fn deeper<T>(&mut self, read: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.depth == DEPTH_MAX {
            return Err(FilterError::new(self.byte(), format!("a filter nests at most {DEPTH_MAX} deep")));
        }
        self.depth += 1;
        let read = read(self)?;
        self.depth -= 1;
        Ok(read)
    }

    fn or(&mut self) -> Parsed {
        self.chain("OR", Self::and, Expr::Or)
    }

    fn and(&mut self) -> Parsed {
        self.chain("AND", Self::not, Expr::And)
    }

    fn chain(&mut self, word: &str, operand: fn(&mut Self) -> Parsed, made: fn(Vec<Expr>) -> Expr) -> Parsed {
        let first = operand(self)?;
        if !self.is_word(word) {
            return Ok(first);
        }
        let mut operands = vec![first];
        while self.takes_word(word) {
            operands.push(operand(self)?);
        }
        Ok(made(operands))
    }

    fn not(&mut self) -> Parsed {
        if self.takes_word("NOT") {
            return Ok(Expr::Not(Box::new(self.deeper(Self::not)?)));
        }
        self.predicate()
    }

    fn predicate(&mut self) -> Parsed {
        let value = self.sum()?;
        if let Kind::Symbol(symbol) = self.peek()
            && let Some(comparison) = comparison(symbol)
        {
            self.at += 1;
            let predicate = Expr::Compare(Box::new(value), comparison, Box::new(self.sum()?));
            return Ok(self.as_read(predicate));
        }
        if self.takes_word("IS") {
            let negated = self.takes_word("NOT");
            let expr = if self.takes_word("NULL") {
                Expr::IsNull(Box::new(value))
            } else if self.takes_word("NAN") {
                Expr::IsNan(Box::new(value))
            } else {
                return Err(self.expected("NULL or NAN"));
            };
            return Ok(negate_if(negated, expr));
        }
        let negated = self.takes_word("NOT");
        let value = match self.word_predicate(value)? {
            Ok(Expr::Like(value, pattern)) if negated && self.readings.not_like_by_element => {
                if self.readings.null_predicates {
                    return Ok(self.as_read(Expr::UnlikeSome(value, pattern)));
                }
                // Without an element it is the negation of what does not hold.
                return Ok(Expr::Or(vec![Expr::IsNull(value.clone()), Expr::UnlikeSome(value, pattern)]));
            }
            Ok(expr) => return Ok(negate_if(negated, self.as_read(expr))),
            Err(value) => value,
        };
        if negated {
            return Err(self.expected("IN, BETWEEN, LIKE, BEGINS or ENDS"));
        }
        Ok(value)
    }

    /// A predicate that begins with a word, or the value back.
    fn word_predicate(&mut self, value: Expr) -> Parsed<Result<Expr, Expr>> {
        let value = Box::new(value);
        let expr = if self.takes_word("IN") {
            Expr::In(value, self.list()?)
        } else if self.takes_word("BETWEEN") {
            let low = self.sum()?;
            self.word("AND")?;
            let value = if self.readings.between_by_first { Expr::First(value) } else { *value };
            Expr::Between(Box::new([value, low, self.sum()?]))
        } else if self.takes_word("LIKE") {
            Expr::Like(value, self.pattern()?)
        } else if self.takes_word("BEGINS") {
            self.word("WITH")?;
            Expr::Affix(value, Affix::Begins, self.list()?)
        } else if self.takes_word("ENDS") {
            self.word("WITH")?;
            Expr::Affix(value, Affix::Ends, self.list()?)
        } else {
            return Ok(Err(*value));
        };
        Ok(Ok(expr))
    }

    /// A predicate with what it is for NULL.
    fn as_read(&self, predicate: Expr) -> Expr {
        if self.readings.null_predicates { Expr::OrNull(Box::new(predicate)) } else { predicate }
    }

    /// A regular expression: only a literal can be one.
    fn pattern(&mut self) -> Parsed<Pattern> {
        let at = self.byte();
        let Kind::Text(_) = self.peek() else { return Err(self.expected("a pattern in quotes")) };
        let Kind::Text(literal) = self.take() else { unreachable!("it was just looked at") };
        Pattern::new(literal, self.readings, at)
    }

    /// One or more values in parentheses.
    fn list(&mut self) -> Parsed<Vec<Expr>> {
        self.symbol("(")?;
        let list = self.deeper(|parser| parser.values(None))?;
        self.symbol(")")?;
        Ok(list)
    }

    /// Values with commas between them; the one at `pattern` is a regular
    /// expression.
    fn values(&mut self, pattern: Option<usize>) -> Parsed<Vec<Expr>> {
        let mut values = Vec::new();
        loop {
            if values.len() == LIST_MAX {
                return Err(FilterError::new(self.byte(), format!("a list has at most {LIST_MAX} values")));
            }
            let is_pattern = pattern == Some(values.len());
            values.push(if is_pattern { Expr::Pattern(self.pattern()?) } else { self.or()? });
            if !self.takes_symbol(",") {
                return Ok(values);
            }
        }
    }

    fn sum(&mut self) -> Parsed {
        self.arithmetic(Self::product, |kind| match kind {
            Kind::Symbol("+") => Some(Arithmetic::Add),
            Kind::Symbol("-") => Some(Arithmetic::Subtract),
            _ => None,
        })
    }

    fn product(&mut self) -> Parsed {
        self.arithmetic(Self::signed, |kind| match kind {
            Kind::Symbol("*") => Some(Arithmetic::Multiply),
            Kind::Symbol("/") => Some(Arithmetic::Divide),
            Kind::Symbol("%") => Some(Arithmetic::Modulo),
            Kind::Word(word) if word == "MOD" => Some(Arithmetic::Modulo),
            _ => None,
        })
    }

    fn arithmetic(&mut self, operand: fn(&mut Self) -> Parsed, operator: fn(&Kind) -> Option<Arithmetic>) -> Parsed {
        let first = operand(self)?;
        let mut rest = Vec::new();
        while let Some(operator) = operator(self.peek()) {
            self.at += 1;
            rest.push((operator, operand(self)?));
        }
        Ok(if rest.is_empty() { first } else { Expr::Arithmetic(Box::new(first), rest) })
    }

    fn signed(&mut self) -> Parsed {
        if self.takes_symbol("-") {
            return Ok(Expr::Negate(Box::new(self.deeper(Self::signed)?)));
        }
        self.single()
    }

    fn single(&mut self) -> Parsed {
        match self.peek() {
            Kind::Number(_) | Kind::Text(_) | Kind::Field(_) => {}
            Kind::Symbol("(") => {
                self.at += 1;
                let inner = self.deeper(Self::or)?;
                self.symbol(")")?;
                return Ok(inner);
            }
            Kind::Word(word) if word == "NULL" => {}
            Kind::Word(word) if !is_reserved(word) => return self.call(),
            _ => return Err(self.expected("a value")),
        }
        Ok(match self.take() {
            Kind::Number(value) => Expr::Literal(value),
            Kind::Text(Literal { value, .. }) => Expr::Literal(Value::text(value)),
            Kind::Field(path) => Expr::Field(path),
            _ => Expr::Literal(Value::Null),
        })
    }

    fn call(&mut self) -> Parsed {
        let at = self.byte();
        let Kind::Word(name) = self.take() else { return Err(self.expected("a function")) };
        let Some(function) = Function::named(&name) else {
            return Err(FilterError::new(at, format!("'{name}' is no function this server knows")));
        };
        self.symbol("(")?;
        let none = matches!(self.peek(), Kind::Symbol(")"));
        let parameters = match none {
            true => Vec::new(),
            false => self.deeper(|parser| parser.values(function.pattern_parameter()))?,
        };
        self.symbol(")")?;
        if !function.takes(parameters.len()) {
            return Err(FilterError::new(at, format!("{name} does not take {} parameters", parameters.len())));
        }
        Ok(Expr::Call(function, parameters))
    }
}

fn negate_if(negated: bool, expr: Expr) -> Expr {
    if negated { Expr::Not(Box::new(expr)) } else { expr }
}

fn comparison(symbol: &str) -> Option<Comparison> {
    Some(match symbol {
        "=" | "==" => Comparison::Equal,
        "!=" | "<>" => Comparison::NotEqual,
        "<" => Comparison::Less,
        "<=" => Comparison::LessOrEqual,
        ">" => Comparison::Greater,
        ">=" => Comparison::GreaterOrEqual,
        _ => return None,
    })
}

/// Words that are no function names.
fn is_reserved(word: &str) -> bool {
    ["AND", "OR", "NOT", "IN", "BETWEEN", "LIKE", "BEGINS", "ENDS", "WITH", "IS", "NULL", "NAN", "MOD"].contains(&word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::{Filter, TEXT_MAX};

    fn parse(text: &str) -> Parsed {
        super::parse(text, Readings::default())
    }

    fn printed(text: &str) -> String {
        parse(text).unwrap().to_string()
    }

    #[test]
    fn precedence() {
        for (text, same) in [
            ("1 = 1 OR 2 = 2 AND 3 = 3", "1 = 1 OR (2 = 2 AND 3 = 3)"),
            ("NOT /a = 1 AND /b", "(NOT (/a = 1)) AND /b"),
            ("1 + 2 * 3 % 4 - - 5", "(1 + ((2 * 3) % 4)) - (- 5)"),
            ("/a NOT IN (1) OR /b", "(NOT (/a IN (1))) OR /b"),
            ("/a + 1 BETWEEN 0 AND 2 AND /b", "((/a + 1) BETWEEN 0 AND 2) AND /b"),
            ("not /a is not null", "NOT ((/a) IS NOT NULL)"),
        ] {
            // Chains of one operator are one node, so the left side of a chain
            // in parentheses is another expression with the same meaning.
            let (left, right) = (printed(text), printed(same));
            assert_eq!(left.replace(['(', ')'], ""), right.replace(['(', ')'], ""), "{text}");
        }
        assert_eq!(parse("1 = 1 OR 2 = 2 AND 3 = 3"), parse("1 = 1 OR (2 = 2 AND 3 = 3)"));
        assert_ne!(parse("1 = 1 OR 2 = 2 AND 3 = 3"), parse("(1 = 1 OR 2 = 2) AND 3 = 3"));
        assert_eq!(parse("1 + 2 * 3"), parse("1 + (2 * 3)"));
        assert_eq!(parse("NOT /a = 1"), parse("NOT (/a = 1)"));
        assert_eq!(parse("/a NOT IN (1)"), parse("NOT /a IN (1)"));
    }

    #[test]
    fn bounds() {
        let parentheses = |n: usize| format!("{}1{}", "(".repeat(n), ")".repeat(n));
        assert!(parse(&parentheses(DEPTH_MAX)).is_ok());
        assert_eq!(parse(&parentheses(DEPTH_MAX + 1)).unwrap_err().at(), DEPTH_MAX + 1);
        assert!(parse(&format!("{} 1", "NOT ".repeat(DEPTH_MAX + 1))).is_err());
        assert!(parse(&format!("{} 1", "- ".repeat(DEPTH_MAX + 1))).is_err());
        let list = |n: usize| format!("1 IN ({})", vec!["1"; n].join(","));
        assert!(parse(&list(LIST_MAX)).is_ok());
        assert!(parse(&list(LIST_MAX + 1)).is_err());
        let chain = |n: usize| vec!["1"; n].join("+");
        assert!(parse(&chain(NODES_MAX / 2)).is_ok());
        assert!(parse(&chain(NODES_MAX)).is_err());
        let long = |n: usize| format!("1{}", " ".repeat(n - 1)).parse::<Filter>();
        assert!(long(TEXT_MAX).is_ok());
        assert_eq!(long(TEXT_MAX + 1).unwrap_err().at(), TEXT_MAX);
    }

    #[test]
    fn errors_name_the_byte_and_what_is_wrong() {
        for (text, error) in [
            ("", "bad filter, byte 0: expected a value, found the end"),
            ("/a =", "bad filter, byte 4: expected a value, found the end"),
            ("/a = 1 /b", "bad filter, byte 8: 'B' is no function this server knows"),
            ("/a = 1 2", "bad filter, byte 7: expected an operator or the end, found a number"),
            ("/a LIKE /b", "bad filter, byte 8: expected a pattern in quotes, found '/b'"),
            ("/a IN 1", "bad filter, byte 6: expected '(', found a number"),
            ("/a NOT 1", "bad filter, byte 7: expected IN, BETWEEN, LIKE, BEGINS or ENDS, found a number"),
            ("ABS(1, 2)", "bad filter, byte 0: ABS does not take 2 parameters"),
            ("/a BEGINS ('x')", "bad filter, byte 10: expected WITH, found '('"),
        ] {
            assert_eq!(parse(text).unwrap_err().to_string(), error, "{text}");
        }
    }
}
