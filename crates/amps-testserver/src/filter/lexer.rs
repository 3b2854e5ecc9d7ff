//! From a filter's text to tokens (AMPS User Guide, "Syntax", "Identifiers"
//! and "String Literals").

use super::error::FilterError;
use super::expr::{Path, Step};
use super::value::{Number, Value};

/// One token with the byte it starts at.
#[derive(Debug, Clone)]
pub(super) struct Token {
    pub(super) at: usize,
    pub(super) kind: Kind,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    Number(Value<'static>),
    Text(Literal),
    Field(Path),
    /// A keyword or a function name, in upper case.
    Word(String),
    /// An operator, a parenthesis or a comma.
    Symbol(&'static str),
    End,
}

/// A string in quotes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Literal {
    /// What it stands for.
    pub(super) value: Vec<u8>,
    /// How it was written between the quotes, quotes without their escape: a
    /// pattern is read from this.
    pub(super) source: String,
    /// Written as `r'...'`: nothing in it is special.
    pub(super) raw: bool,
}

/// Longer ones first: `<=` is not `<` and `=`.
const SYMBOLS: [&str; 15] = ["==", "=", "!=", "<>", "<=", "<", ">=", ">", "+", "-", "*", "/", "%", "(", ")"];

/// All tokens of a text, with an end behind them.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, FilterError> {
    let mut lexer = Lexer { text, at: 0 };
    let mut tokens: Vec<Token> = Vec::new();
    loop {
        // Behind a value `/` divides, anywhere else it begins an identifier.
        let behind_value = tokens.last().is_some_and(|token| token.kind.ends_value());
        let token = lexer.next(behind_value)?;
        let end = token.kind == Kind::End;
        tokens.push(token);
        if end {
            return Ok(tokens);
        }
    }
}

/// Whether a step of a path can be written without brackets.
pub(super) fn is_name(name: &str) -> bool {
    let bare = name.strip_prefix('@').unwrap_or(name);
    bare.starts_with(begins_name) && bare.chars().all(is_name_char)
}

/// Paths are made of XML names, and of the numbers of FIX tags.
fn begins_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || !c.is_ascii()
}

fn is_name_char(c: char) -> bool {
    begins_name(c) || matches!(c, '-' | '.' | ':')
}

impl Kind {
    fn ends_value(&self) -> bool {
        match self {
            Self::Number(_) | Self::Text(_) | Self::Field(_) | Self::Symbol(")") => true,
            Self::Word(word) => word == "NULL",
            _ => false,
        }
    }

    /// For error messages.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Number(_) => "a number".to_owned(),
            Self::Text(_) => "a string".to_owned(),
            Self::Field(path) => format!("'{path}'"),
            Self::Word(word) => format!("'{word}'"),
            Self::Symbol(symbol) => format!("'{symbol}'"),
            Self::End => "the end".to_owned(),
        }
    }
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let taken = &rest[..rest.find(|c| !wanted(c)).unwrap_or(rest.len())];
        self.at += taken.len();
        taken
    }

    fn next(&mut self, behind_value: bool) -> Result<Token, FilterError> {
        self.take_while(|c| c.is_ascii_whitespace());
        let at = self.at;
        let kind = match self.peek() {
            None => Kind::End,
            Some('/') if !behind_value && self.starts_step(1) => Kind::Field(self.path()?),
            Some('[') => Kind::Field(self.bracketed()?),
            Some('\'' | '"') => Kind::Text(self.string(false)?),
            Some('r' | 'R') if self.rest()[1..].starts_with(['\'', '"']) => {
                self.at += 1;
                Kind::Text(self.string(true)?)
            }
            Some(c) if c.is_ascii_digit() || (c == '.' && self.digit_follows()) => self.number()?,
            Some(c) if c.is_ascii_alphabetic() || c == '_' => {
                Kind::Word(self.take_while(|c| c.is_ascii_alphanumeric() || c == '_').to_ascii_uppercase())
            }
            Some(',') => {
                self.at += 1;
                Kind::Symbol(",")
            }
            Some(c) => {
                let Some(symbol) = SYMBOLS.into_iter().find(|symbol| self.rest().starts_with(symbol)) else {
                    return Err(FilterError::new(at, format!("'{}' is not part of the language", c.escape_default())));
                };
                self.at += symbol.len();
                Kind::Symbol(symbol)
            }
        };
        Ok(Token { at, kind })
    }

    /// Whether a step of a path follows after some bytes.
    fn starts_step(&self, after: usize) -> bool {
        let rest = &self.rest()[after..];
        rest.strip_prefix('@').unwrap_or(rest).starts_with(begins_name)
    }

    fn digit_follows(&self) -> bool {
        self.rest()[1..].starts_with(|c: char| c.is_ascii_digit())
    }

    /// `/a/b[2]/@c`
    fn path(&mut self) -> Result<Path, FilterError> {
        let mut steps = Vec::new();
        while self.rest().starts_with('/') && self.starts_step(1) {
            self.at += 1;
            let from = self.at;
            if self.peek() == Some('@') {
                self.at += 1;
            }
            self.take_while(is_name_char);
            let name = self.text[from..self.at].to_owned();
            steps.push(Step { name, index: self.index()? });
        }
        Ok(Path(steps))
    }

    /// `[/any name/at all]`, with an index behind it perhaps.
    fn bracketed(&mut self) -> Result<Path, FilterError> {
        let at = self.at;
        let Some(length) = self.rest().find(']') else {
            return Err(FilterError::new(at, "'[' is never closed"));
        };
        let inside = &self.rest()[1..length];
        let mut names = inside.split('/');
        if names.next() != Some("") || inside.len() < 2 || inside.ends_with('/') || inside.contains("//") {
            return Err(FilterError::new(at + 1, "expected an identifier such as [/name] in the brackets"));
        }
        let mut steps: Vec<_> = names.map(|name| Step { name: name.to_owned(), index: None }).collect();
        self.at += length + 1;
        let index = self.index()?;
        if let Some(last) = steps.last_mut() {
            last.index = index;
        }
        Ok(Path(steps))
    }

    /// `[2]` behind a step, if it is there.
    fn index(&mut self) -> Result<Option<u32>, FilterError> {
        let at = self.at;
        let Some(inside) = self.rest().strip_prefix('[') else { return Ok(None) };
        let Some((number, _)) = inside.split_once(']') else {
            return Err(FilterError::new(at, "'[' is never closed"));
        };
        let index = number.parse().ok().filter(|_| number.bytes().all(|c| c.is_ascii_digit()));
        if index.is_none() {
            return Err(FilterError::new(at + 1, "expected a number, counted from 0, as the index"));
        }
        self.at += number.len() + 2;
        Ok(index)
    }

    fn number(&mut self) -> Result<Kind, FilterError> {
        let at = self.at;
        self.take_while(|c| c.is_ascii_digit());
        if self.rest().starts_with('.') {
            self.at += 1;
            self.take_while(|c| c.is_ascii_digit());
        }
        let exponent = self.rest().strip_prefix(['e', 'E']).map(|rest| rest.strip_prefix(['+', '-']).unwrap_or(rest));
        if exponent.is_some_and(|digits| digits.starts_with(|c: char| c.is_ascii_digit())) {
            self.at += 2;
            self.take_while(|c| c.is_ascii_digit());
        }
        if self.peek().is_some_and(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.') {
            return Err(FilterError::new(at, "a number ends before a letter or another point"));
        }
        match Number::parse(&self.text[at..self.at]) {
            Some(Number::Int(value)) => Ok(Kind::Number(Value::Int(value))),
            Some(Number::Float(value)) if value.is_finite() => Ok(Kind::Number(Value::Float(value))),
            _ => Err(FilterError::new(at, "the number is too large")),
        }
    }

    /// The string that begins at this quote.
    fn string(&mut self, raw: bool) -> Result<Literal, FilterError> {
        let at = self.at;
        let mut literal = Literal { value: Vec::new(), source: String::new(), raw };
        let quote = self.peek();
        self.at += 1;
        loop {
            let Some(c) = self.peek() else {
                return Err(FilterError::new(at, "the string is never closed"));
            };
            self.at += c.len_utf8();
            if Some(c) == quote {
                return Ok(literal);
            }
            if c == '\\' && !raw {
                self.escape(&mut literal)?;
            } else {
                literal.value.extend(c.encode_utf8(&mut [0; 4]).bytes());
                literal.source.push(c);
            }
        }
    }

    /// What stands behind a backslash. An unknown escape is its character.
    fn escape(&mut self, literal: &mut Literal) -> Result<(), FilterError> {
        let Some(c) = self.peek() else {
            return Err(FilterError::new(self.at, "expected a character behind the backslash"));
        };
        let rest = self.rest();
        let digits = |from: usize, count: usize, radix| {
            let digits = rest.get(from..from + count).filter(|digits| digits.bytes().all(|c| c.is_ascii_hexdigit()))?;
            u8::from_str_radix(digits, radix).ok()
        };
        let (length, byte) = match c {
            'a' => (1, Some(0x07)),
            'b' => (1, Some(0x08)),
            't' => (1, Some(b'\t')),
            'n' => (1, Some(b'\n')),
            'f' => (1, Some(0x0c)),
            'r' => (1, Some(b'\r')),
            'x' => digits(1, 2, 16).map_or((1, None), |byte| (3, Some(byte))),
            '0'..='7' => digits(0, 3, 8).map_or((1, None), |byte| (3, Some(byte))),
            other => (other.len_utf8(), None),
        };
        let written = &rest[..length];
        match byte {
            Some(byte) => literal.value.push(byte),
            None => literal.value.extend(written.bytes()),
        }
        if !matches!(c, '\'' | '"') {
            literal.source.push('\\');
        }
        literal.source.push_str(written);
        self.at += length;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        tokens(text).unwrap().iter().map(|token| token.kind.describe()).collect()
    }

    #[test]
    fn a_slash_divides_behind_a_value_and_begins_an_identifier_elsewhere() {
        assert_eq!(words("/6*/14"), ["'/6'", "'*'", "'/14'", "the end"]);
        assert_eq!(words("/a / 2"), ["'/a'", "'/'", "a number", "the end"]);
        assert_eq!(words("1/5"), ["a number", "'/'", "a number", "the end"]);
        assert_eq!(words("(1)/5"), ["'('", "a number", "')'", "'/'", "a number", "the end"]);
        assert_eq!(words("NULL/5"), ["'NULL'", "'/'", "a number", "the end"]);
    }

    #[test]
    fn identifiers() {
        for (text, printed) in [
            ("/a/b[2]/@c", "/a/b[2]/@c"),
            ("[/odd name/b c][3]", "[/odd name/b c][3]"),
            ("[/plain]", "/plain"),
            ("/35", "/35"),
            ("/größe", "/größe"),
        ] {
            assert_eq!(words(text), [format!("'{printed}'"), "the end".to_owned()], "{text}");
        }
    }

    #[test]
    fn strings_keep_what_they_mean_and_how_they_were_written() {
        for (text, value, source) in [
            (r"'it\'s'", b"it's".as_slice(), "it's"),
            (r#""a'b""#, b"a'b", "a'b"),
            (r"'\x41\101\n\q\\'", b"AA\nq\\", r"\x41\101\n\q\\"),
            (r"'(.)\1'", b"(.)1", r"(.)\1"),
            (r"'\400'", b"400", r"\400"),
            (r"r'a\n'", br"a\n", r"a\n"),
        ] {
            let tokens = tokens(text).unwrap();
            let Kind::Text(literal) = &tokens[0].kind else { panic!("{text}") };
            assert_eq!((literal.value.as_slice(), literal.source.as_str()), (value, source), "{text}");
        }
    }

    #[test]
    fn errors_name_the_byte() {
        for (text, at) in
            [("/a = 'x", 5), ("/a = ~1", 5), ("/a[x] = 1", 3), ("/a[1", 2), ("[a]", 1), ("1 = 2x", 4), ("1e999", 0)]
        {
            assert_eq!(tokens(text).unwrap_err().at(), at, "{text}");
        }
    }
}
