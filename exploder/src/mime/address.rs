//! The authors of a message: a mailbox-list (RFC 5322 section 3.4).
//!
//! Who may post can depend on it, so nothing is guessed: two readers that understand a From field differently are how
//! impostors get in. Groups, routes and comments inside an address are refused; display names are skipped.

use super::lexer::Lexer;
use twinseal_proto::ids::MailAddress;

/// Most addresses in a field.
pub const MAX_ADDRESSES: usize = 200;

/// The addresses of a From or Sender field, one or more; `None` if it cannot be read in one way only.
#[must_use]
pub fn mailboxes(value: &str) -> Option<Vec<MailAddress>> {
    let mut lexer = Lexer::new(value);
    let mut found = Vec::new();
    loop {
        if found.len() == MAX_ADDRESSES {
            return None;
        }
        found.push(mailbox(&mut lexer)?);
        if !lexer.eat(',')? {
            return lexer.at_end()?.then_some(found);
        }
    }
}

/// `Phrase <local@domain>`, `<local@domain>` or `local@domain`.
fn mailbox(lexer: &mut Lexer<'_>) -> Option<MailAddress> {
    let start = lexer.clone();
    // A display name: words up to the angle bracket.
    while !lexer.eat('<')? {
        if word(lexer).is_none() {
            // No bracket comes: it has to be a bare address.
            *lexer = start;
            lexer.at_end()?;
            return addr_spec(lexer);
        }
    }
    let address = addr_spec(lexer)?;
    lexer.eat_close('>').then_some(address)
}

fn addr_spec(lexer: &mut Lexer<'_>) -> Option<MailAddress> {
    let local = word_close(lexer)?;
    if !lexer.eat_close('@') {
        return None;
    }
    let domain = lexer.dot_atom()?;
    format!("{local}@{domain}").parse().ok()
}

/// A word of a display name, after white space and comments.
fn word<'a>(lexer: &mut Lexer<'a>) -> Option<&'a str> {
    if lexer.at_end()? {
        return None;
    }
    word_close(lexer)
}

fn word_close<'a>(lexer: &mut Lexer<'a>) -> Option<&'a str> {
    lexer.dot_atom().or_else(|| lexer.quoted_raw())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn read(value: &str) -> Option<Vec<String>> {
        mailboxes(value).map(|found| found.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn authors_are_read_in_one_way_or_not_at_all() {
        for (value, addresses) in [
            ("ann@x.test", &["ann@x.test"][..]),
            ("<ann@x.test>", &["ann@x.test"]),
            ("Ann Example <Ann@X.test>", &["Ann@x.test"]),
            ("\"Ann, \\\"E\\\" <a@b>\" <ann@x.test>", &["ann@x.test"]),
            ("=?utf-8?Q?Ann_=C3=A9?= <ann@x.test>", &["ann@x.test"]),
            ("A. N. Ann <ann@x.test> (work (home))", &["ann@x.test"]),
            ("(c) ann@x.test", &["ann@x.test"]),
            ("\"a b\"@x.test", &["\"a b\"@x.test"]),
            ("ann@x.test, Bob <bob@x.test>", &["ann@x.test", "bob@x.test"]),
        ] {
            assert_eq!(read(value).unwrap(), addresses, "{value}");
        }
        for bad in [
            "",
            " ",
            "ann",
            "ann@",
            "@x.test",
            "<ann@x.test",
            "ann@x.test>",
            "<a@x.test><b@x.test>",
            "a@x.test b@x.test",
            "a@x.test <b@x.test>",
            "Team: ann@x.test;",
            "undisclosed-recipients:;",
            "<@relay:ann@x.test>",
            "ann@x.test,",
            ",ann@x.test",
            "ann(c)@x.test",
            "ann@(c)x.test",
            "<ann@x.test (c)>",
            "ann @x.test",
            "\"ann <ann@x.test>",
            "(ann@x.test",
            "<ann@[192.0.2.1]>",
            "ann@x.test\0@y.test",
            "a..b@x.test",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
        let many = vec!["a@x.test"; 201].join(",");
        assert_eq!(read(&many), None);
        assert_eq!(read(&"(".repeat(100_000)), None);
    }

    proptest! {
        #[test]
        fn no_value_makes_it_panic(value in "[a@<>\\(\\),\"\\\\.:; ]{0,40}") {
            let _ = mailboxes(&value);
            let _ = super::super::Typed::parse(&value);
        }
    }
}
