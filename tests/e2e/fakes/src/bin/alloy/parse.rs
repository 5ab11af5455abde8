//! Parses the subset of Alloy's language that the shipped configuration needs: blocks, attributes,
//! literals, lists, objects, references, calls and `+`. Errors have the file and the line.

use std::iter::Peekable;

pub type Result<T> = std::result::Result<T, String>;

#[derive(Debug, Clone)]
pub enum Expr {
    Literal(serde_json::Value),
    List(Vec<Expr>),
    Object(Vec<(String, Expr)>),
    /// `prometheus.relabel.outbound.receiver`
    Name(String),
    Call(String, Vec<Expr>),
    Add(Box<Expr>, Box<Expr>),
}

/// `name "label" { … }`
#[derive(Debug, Default)]
pub struct Block {
    pub name: String,
    pub label: String,
    /// `file:line`, for messages.
    pub place: String,
    pub attributes: Vec<(String, Expr)>,
    pub blocks: Vec<Block>,
}

impl Block {
    pub fn attribute(&self, name: &str) -> Option<&Expr> {
        self.attributes.iter().find(|(n, _)| n == name).map(|(_, e)| e)
    }
    pub fn blocks_named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Block> {
        self.blocks.iter().filter(move |b| b.name == name)
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Name(String),
    Text(String),
    Number(i64),
    Sign(char),
    NewLine,
}

/// Returns the file as a block without a name.
pub fn parse(file: &str, text: &str) -> Result<Block> {
    let mut parser = Parser { file, tokens: tokens(file, text)?.into_iter().peekable(), line: 1 };
    let mut root = Block::default();
    parser.body(&mut root, None)?;
    Ok(root)
}

fn tokens(file: &str, text: &str) -> Result<Vec<(usize, Token)>> {
    let mut tokens = Vec::new();
    let mut line = 1;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let start = line;
        let token = match c {
            '\n' => {
                line += 1;
                Token::NewLine
            }
            c if c.is_whitespace() => continue,
            '/' if chars.peek() == Some(&'/') => {
                while chars.next_if(|c| *c != '\n').is_some() {}
                continue;
            }
            '"' => Token::Text(
                text_literal(&mut chars)
                    .ok_or(format!("{file}:{start}: string literal not terminated or with an unknown escape"))?,
            ),
            c if c.is_ascii_digit() => {
                let mut digits = c.to_string();
                while let Some(d) = chars.next_if(char::is_ascii_digit) {
                    digits.push(d);
                }
                Token::Number(digits.parse().map_err(|_| format!("{file}:{start}: invalid number {digits}"))?)
            }
            c if c.is_alphabetic() || c == '_' => {
                let mut name = c.to_string();
                while let Some(d) = chars.next_if(|d| d.is_alphanumeric() || *d == '_' || *d == '.') {
                    name.push(d);
                }
                Token::Name(name)
            }
            '{' | '}' | '[' | ']' | '(' | ')' | '=' | ',' | '+' => Token::Sign(c),
            other => return Err(format!("{file}:{start}: unexpected character {other:?}")),
        };
        tokens.push((start, token));
    }
    Ok(tokens)
}

fn text_literal(chars: &mut impl Iterator<Item = char>) -> Option<String> {
    let mut text = String::new();
    loop {
        match chars.next()? {
            '"' => return Some(text),
            '\n' => return None,
            '\\' => text.push(match chars.next()? {
                'n' => '\n',
                't' => '\t',
                c @ ('"' | '\\') => c,
                _ => return None,
            }),
            c => text.push(c),
        }
    }
}

struct Parser<'a, I: Iterator<Item = (usize, Token)>> {
    file: &'a str,
    tokens: Peekable<I>,
    /// The line of the last token.
    line: usize,
}

impl<I: Iterator<Item = (usize, Token)>> Parser<'_, I> {
    fn body(&mut self, block: &mut Block, end: Option<Token>) -> Result<()> {
        loop {
            self.skip_new_lines();
            let name = match self.next() {
                token if token == end => return Ok(()),
                Some(Token::Name(name)) => name,
                token => return self.fail(token, "expected a block, an attribute or the end of the block"),
            };
            let place = format!("{}:{}", self.file, self.line);
            match self.next() {
                Some(Token::Sign('=')) => {
                    if block.attribute(&name).is_some() {
                        return Err(format!("{place}: attribute {name} appears twice"));
                    }
                    let value = self.expression()?;
                    block.attributes.push((name, value));
                }
                Some(Token::Text(label)) => {
                    self.expect('{')?;
                    let mut inner = Block { name, label, place, ..Block::default() };
                    self.body(&mut inner, Some(Token::Sign('}')))?;
                    block.blocks.push(inner);
                }
                Some(Token::Sign('{')) => {
                    let mut inner = Block { name, place, ..Block::default() };
                    self.body(&mut inner, Some(Token::Sign('}')))?;
                    block.blocks.push(inner);
                }
                token => return self.fail(token, "expected = or a block"),
            }
            if !matches!(self.tokens.peek().map(|(_, t)| t), None | Some(Token::NewLine | Token::Sign('}'))) {
                let token = self.next();
                return self.fail(token, "expected the end of the line");
            }
        }
    }

    fn expression(&mut self) -> Result<Expr> {
        let mut value = self.term()?;
        while self.next_is('+') {
            value = Expr::Add(Box::new(value), Box::new(self.term()?));
        }
        Ok(value)
    }

    fn term(&mut self) -> Result<Expr> {
        Ok(match self.next() {
            Some(Token::Text(text)) => Expr::Literal(text.into()),
            Some(Token::Number(number)) => Expr::Literal(number.into()),
            Some(Token::Name(name)) if name == "true" || name == "false" => Expr::Literal((name == "true").into()),
            Some(Token::Name(name)) if self.next_is('(') => Expr::Call(name, self.items(')', Self::expression)?),
            Some(Token::Name(name)) => Expr::Name(name),
            Some(Token::Sign('[')) => Expr::List(self.items(']', Self::expression)?),
            Some(Token::Sign('{')) => Expr::Object(self.items('}', Self::entry)?),
            token => return self.fail(token, "expected a value"),
        })
    }

    fn entry(&mut self) -> Result<(String, Expr)> {
        let key = match self.next() {
            Some(Token::Name(key) | Token::Text(key)) => key,
            token => return self.fail(token, "expected a key"),
        };
        self.expect('=')?;
        Ok((key, self.expression()?))
    }

    /// Items separated by commas. As in Alloy, a line can only end after a comma or an opening bracket.
    fn items<T>(&mut self, end: char, item: fn(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        let mut items = Vec::new();
        loop {
            self.skip_new_lines();
            if self.next_is(end) {
                return Ok(items);
            }
            items.push(item(self)?);
            if !self.next_is(',') {
                self.expect(end)?;
                return Ok(items);
            }
        }
    }

    fn next(&mut self) -> Option<Token> {
        let (line, token) = self.tokens.next()?;
        self.line = line;
        Some(token)
    }

    fn next_is(&mut self, sign: char) -> bool {
        self.tokens.next_if(|(_, t)| *t == Token::Sign(sign)).is_some()
    }

    fn expect(&mut self, sign: char) -> Result<()> {
        match self.next() {
            Some(token) if token == Token::Sign(sign) => Ok(()),
            token => self.fail(token, &format!("expected {sign}")),
        }
    }

    fn skip_new_lines(&mut self) {
        while self.tokens.next_if(|(_, t)| *t == Token::NewLine).is_some() {}
    }

    fn fail<T>(&self, token: Option<Token>, what: &str) -> Result<T> {
        let found = token.map_or("the end of the file".to_owned(), |t| format!("{t:?}"));
        Err(format!("{}:{}: {what}, found {found}", self.file, self.line))
    }
}
