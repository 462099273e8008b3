//! The lexical tokens that structured header fields share (RFC 5322 section 3.2, RFC 2045 section 5.1).

/// Deepest nesting of comments.
const MAX_COMMENT_DEPTH: u32 = 16;

/// Reads tokens from the front of an unfolded, printable ASCII value. `None` always means that the value breaks the
/// grammar.
#[derive(Debug, Clone)]
pub(super) struct Lexer<'a> {
    rest: &'a str,
}

impl<'a> Lexer<'a> {
    pub(super) const fn new(value: &'a str) -> Self {
        Self { rest: value }
    }

    /// Skips white space and comments (CFWS).
    fn skip(&mut self) -> Option<()> {
        let mut depth = 0;
        let mut escaped = false;
        for (at, c) in self.rest.char_indices() {
            match c {
                _ if escaped => escaped = false,
                '(' if depth == MAX_COMMENT_DEPTH => return None,
                '(' => depth += 1,
                ')' if depth > 0 => depth -= 1,
                '\\' if depth > 0 => escaped = true,
                ' ' | '\t' => {}
                _ if depth > 0 => {}
                _ => {
                    self.rest = self.rest.get(at..)?;
                    return Some(());
                }
            }
        }
        self.rest = "";
        (depth == 0).then_some(())
    }

    /// Whether nothing but white space and comments is left.
    pub(super) fn at_end(&mut self) -> Option<bool> {
        self.skip()?;
        Some(self.rest.is_empty())
    }

    /// Whether `c` comes next; it is taken then.
    pub(super) fn eat(&mut self, c: char) -> Option<bool> {
        self.skip()?;
        let rest = self.rest.strip_prefix(c);
        self.rest = rest.unwrap_or(self.rest);
        Some(rest.is_some())
    }

    /// The same without white space or comments before it.
    pub(super) fn eat_close(&mut self, c: char) -> bool {
        let rest = self.rest.strip_prefix(c);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// A token of RFC 2045.
    pub(super) fn token(&mut self) -> Option<&'a str> {
        self.skip()?;
        self.run(|b| b.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?=".contains(&b))
    }

    /// A dot-atom of RFC 5322, or what the obsolete grammar allows in display names: any run of atoms and dots.
    pub(super) fn dot_atom(&mut self) -> Option<&'a str> {
        self.run(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~.".contains(&b))
    }

    /// A quoted string, without its quotes and escapes.
    pub(super) fn quoted_string(&mut self) -> Option<String> {
        let raw = self.quoted_raw()?;
        let mut escaped = false;
        let inner = raw.get(1..raw.len() - 1)?;
        Some(
            inner
                .chars()
                .filter(|&c| {
                    escaped = c == '\\' && !escaped;
                    !escaped
                })
                .collect(),
        )
    }

    /// A quoted string as it is written.
    pub(super) fn quoted_raw(&mut self) -> Option<&'a str> {
        self.skip()?;
        let mut escaped = true; // the first quote opens
        let end = self.rest.strip_prefix('"').and(self.rest.find(|c| {
            let closes = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            closes
        }))?;
        let raw = self.rest.get(..=end)?;
        self.rest = self.rest.get(end + 1..)?;
        Some(raw)
    }

    fn run(&mut self, member: impl Fn(u8) -> bool) -> Option<&'a str> {
        let end = self.rest.bytes().position(|b| !member(b)).unwrap_or(self.rest.len());
        let (run, rest) = self.rest.split_at_checked(end)?;
        self.rest = rest;
        (!run.is_empty()).then_some(run)
    }
}
