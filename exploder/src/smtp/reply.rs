//! Every reply that the session gives of itself: SMTP code, enhanced status code (RFC 2034, RFC 3463), text.
//!
//! Operators search for these texts, so each stands here once. What policy refuses has its own table in
//! [`crate::policy`].

use crate::smtp::data::Fault;
use std::borrow::Cow;

/// A reply: one or more lines, each with the code and the enhanced code in front.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    code: u16,
    enhanced: &'static str,
    text: Cow<'static, str>,
}

/// Longest text of one reply line, so that the whole line stays below 512 octets (RFC 5321 section 4.5.3.1.5).
const MAX_TEXT: usize = 480;

impl Reply {
    /// A reply with a text that never changes. `enhanced` is empty only for the greeting, the answers to EHLO and
    /// HELO, and 354 (RFC 2034 section 4).
    #[must_use]
    pub const fn fixed(code: u16, enhanced: &'static str, text: &'static str) -> Self {
        Self { code, enhanced, text: Cow::Borrowed(text) }
    }

    /// A reply with a text made for the case. A line feed in `text` begins another line of the reply.
    #[must_use]
    pub fn new(code: u16, enhanced: &'static str, text: impl Into<String>) -> Self {
        Self { code, enhanced, text: Cow::Owned(text.into()) }
    }

    /// The three-digit code.
    #[must_use]
    pub const fn code(&self) -> u16 {
        self.code
    }

    /// The enhanced status code, `5.7.1`; empty where RFC 2034 has none.
    #[must_use]
    pub const fn enhanced(&self) -> &'static str {
        self.enhanced
    }

    /// The text, without codes.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether the reply ends the connection (RFC 5321 section 3.8, RFC 7504).
    #[must_use]
    pub const fn closes(&self) -> bool {
        matches!(self.code, 221 | 421 | 521)
    }

    /// Whether it is a refusal, for now (4xx) or for good (5xx).
    #[must_use]
    pub const fn refuses(&self) -> bool {
        self.code >= 400
    }

    /// Appends the reply as it goes over the wire. Whatever is not printable ASCII becomes `?`, so that no text can
    /// forge a second reply.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        let mut lines = self.text.split('\n').peekable();
        while let Some(line) = lines.next() {
            out.extend_from_slice(self.code.to_string().as_bytes());
            out.push(if lines.peek().is_some() { b'-' } else { b' ' });
            if !self.enhanced.is_empty() {
                out.extend_from_slice(self.enhanced.as_bytes());
                out.push(b' ');
            }
            let printable = |c: char| if c == ' ' || c.is_ascii_graphic() { c as u8 } else { b'?' };
            out.extend(line.chars().take(MAX_TEXT).map(printable));
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// To RSET.
pub const RESET: Reply = Reply::fixed(250, "2.0.0", "reset");
/// To NOOP.
pub const NOOP: Reply = Reply::fixed(250, "2.0.0", "ok");
/// To HELP.
pub const HELP: Reply = Reply::fixed(214, "2.0.0", "commands: EHLO HELO MAIL RCPT DATA RSET NOOP VRFY HELP QUIT");
/// To QUIT.
pub const BYE: Reply = Reply::fixed(221, "2.0.0", "closing");
/// To VRFY, whatever was asked: nothing about members is told (RFC 5321 section 7.3).
pub const VRFY: Reply = Reply::fixed(252, "2.5.2", "cannot verify, send the message");
/// A MAIL command was taken.
pub const SENDER_OK: Reply = Reply::fixed(250, "2.1.0", "sender ok");
/// A RCPT command was taken.
pub const RECIPIENT_OK: Reply = Reply::fixed(250, "2.1.5", "recipient ok");
/// The message may come.
pub const START_INPUT: Reply = Reply::fixed(354, "", "end the message with <CRLF>.<CRLF>");

/// No such command.
pub const UNKNOWN_COMMAND: Reply = Reply::fixed(500, "5.5.2", "unknown command");
/// A command line above the limit; it was skipped up to its end.
pub const LINE_TOO_LONG: Reply = Reply::fixed(500, "5.5.2", "command line too long");
/// The octets of a command are not printable ASCII.
pub const NOT_ASCII: Reply = Reply::fixed(500, "5.5.2", "a command is printable ASCII");
/// The arguments of a command do not follow its syntax.
pub const SYNTAX: Reply = Reply::fixed(501, "5.5.4", "syntax error in the arguments");
/// A command that takes no arguments has some.
pub const NO_ARGUMENTS: Reply = Reply::fixed(501, "5.5.4", "this command takes no arguments");
/// The name after EHLO or HELO.
pub const BAD_HELLO: Reply = Reply::fixed(501, "5.5.4", "give your domain name or address literal");
/// The reverse-path cannot be read.
pub const BAD_SENDER: Reply = Reply::fixed(501, "5.1.7", "bad sender address, MAIL FROM:<local-part@domain> is wanted");
/// The forward-path cannot be read.
pub const BAD_RECIPIENT: Reply =
    Reply::fixed(501, "5.1.3", "bad recipient address, RCPT TO:<local-part@domain> is wanted");
/// A parameter has a value that its extension does not know.
pub const BAD_PARAMETER: Reply = Reply::fixed(501, "5.5.4", "bad value of a parameter");
/// A parameter is there twice.
pub const REPEATED_PARAMETER: Reply = Reply::fixed(501, "5.5.4", "parameter given twice");
/// A parameter of an extension that was not offered (RFC 5321 section 4.1.1.11).
pub const UNKNOWN_PARAMETER: Reply = Reply::fixed(555, "5.5.4", "unknown parameter");
/// UTF-8 in an address; SMTPUTF8 is not offered (RFC 6531 section 3.5).
pub const ADDRESS_NOT_ASCII: Reply =
    Reply::fixed(553, "5.6.7", "SMTPUTF8 is not offered here, the address must be ASCII");
/// A command of an extension that is not offered, or EXPN.
pub const NOT_IMPLEMENTED: Reply = Reply::fixed(502, "5.5.1", "command not implemented");
/// EHLO or HELO is missing.
pub const HELLO_FIRST: Reply = Reply::fixed(503, "5.5.1", "say EHLO or HELO first");
/// MAIL inside a transaction.
pub const NESTED_MAIL: Reply = Reply::fixed(503, "5.5.1", "a transaction is open already");
/// RCPT or DATA without MAIL.
pub const MAIL_FIRST: Reply = Reply::fixed(503, "5.5.1", "MAIL comes first");
/// DATA without RCPT.
pub const RCPT_FIRST: Reply = Reply::fixed(503, "5.5.1", "RCPT comes first");
/// DATA after nothing but refused recipients (RFC 2920 section 3.2).
pub const NO_RECIPIENTS: Reply = Reply::fixed(554, "5.5.1", "no valid recipients");
/// More recipients than a transaction may have (RFC 5321 section 4.5.3.1.10).
pub const TOO_MANY_RECIPIENTS: Reply = Reply::fixed(452, "4.5.3", "too many recipients, send the rest again");
/// A transaction is for one mailbox of one list: what one list refuses, another may take.
pub const ONE_LIST: Reply = Reply::fixed(452, "4.5.3", "one list at a time, send this one in a transaction of its own");
/// The client spoke before the greeting, or went on without waiting where RFC 2920 says to wait.
pub const NOT_IN_STEP: Reply = Reply::fixed(554, "5.5.0", "out of step: wait for the reply before you go on");
/// The error limit of a connection.
pub const TOO_MANY_ERRORS: Reply = Reply::fixed(421, "4.7.0", "too many errors");
/// The message limit of a connection.
pub const TOO_MANY_MESSAGES: Reply = Reply::fixed(421, "4.7.0", "enough messages for this connection, connect again");
/// The connection limits.
pub const TOO_MANY_CONNECTIONS: Reply = Reply::fixed(421, "4.7.0", "too many connections, try again later");
/// A deadline passed.
pub const TIMEOUT: Reply = Reply::fixed(421, "4.4.2", "timeout");
/// The service stops.
pub const SHUTTING_DOWN: Reply = Reply::fixed(421, "4.3.2", "shutting down, try again later");

/// The first line of a connection. It names no product and no version.
#[must_use]
pub fn greeting(host: &str) -> Reply {
    Reply::new(220, "", format!("{host} ESMTP"))
}

/// To HELO.
#[must_use]
pub fn helo(host: &str) -> Reply {
    Reply::new(250, "", host)
}

/// To EHLO: the extensions that work, no others. `max_size` in octets.
#[must_use]
pub fn ehlo(host: &str, max_size: u64) -> Reply {
    Reply::new(250, "", format!("{host}\nPIPELINING\nSIZE {max_size}\n8BITMIME\nENHANCEDSTATUSCODES"))
}

/// More octets than the server takes, which is `limit` (RFC 1870 section 6.1).
#[must_use]
pub fn too_large(limit: u64) -> Reply {
    Reply::new(552, "5.3.4", format!("message larger than {limit} octets, the most that is taken here"))
}

/// A command line with `fault` in it: the connection ends, since the two sides may differ on where lines end.
#[must_use]
pub const fn bad_line(fault: Fault) -> Reply {
    Reply::fixed(521, "5.5.2", fault_text(fault))
}

/// A message with `fault` in it (RFC 5321 section 2.3.8).
#[must_use]
pub const fn bad_data(fault: Fault) -> Reply {
    Reply::fixed(550, "5.5.2", fault_text(fault))
}

const fn fault_text(fault: Fault) -> &'static str {
    match fault {
        Fault::BareCr => "bare <CR> received, lines end with <CR><LF>",
        Fault::BareLf => "bare <LF> received, lines end with <CR><LF>",
        Fault::Nul => "NUL received",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn wire(reply: &Reply) -> String {
        let mut out = Vec::new();
        reply.write_to(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn each_line_has_both_codes_and_no_text_makes_a_second_reply() {
        let told = "552 5.3.4 message larger than 5 octets, the most that is taken here\r\n";
        assert_eq!(wire(&too_large(5)), told);
        assert_eq!(wire(&Reply::new(550, "5.7.1", "a\nb")), "550-5.7.1 a\r\n550 5.7.1 b\r\n");
        assert_eq!(wire(&Reply::new(550, "5.7.1", "x\r250 ok\u{e9}\0")), "550 5.7.1 x?250 ok??\r\n");
        assert_eq!(wire(&Reply::new(550, "5.7.1", "x".repeat(900))).len(), 480 + 12);
    }

    #[test]
    fn the_enhanced_class_is_the_first_digit_of_the_code() {
        for reply in [
            RESET,
            NOOP,
            HELP,
            BYE,
            VRFY,
            SENDER_OK,
            RECIPIENT_OK,
            UNKNOWN_COMMAND,
            LINE_TOO_LONG,
            NOT_ASCII,
            SYNTAX,
            NO_ARGUMENTS,
            BAD_HELLO,
            BAD_SENDER,
            BAD_RECIPIENT,
            BAD_PARAMETER,
            REPEATED_PARAMETER,
            UNKNOWN_PARAMETER,
            ADDRESS_NOT_ASCII,
            NOT_IMPLEMENTED,
            HELLO_FIRST,
            NESTED_MAIL,
            MAIL_FIRST,
            RCPT_FIRST,
            NO_RECIPIENTS,
            too_large(1),
            TOO_MANY_RECIPIENTS,
            ONE_LIST,
            NOT_IN_STEP,
            TOO_MANY_ERRORS,
            TOO_MANY_MESSAGES,
            TOO_MANY_CONNECTIONS,
            TIMEOUT,
            SHUTTING_DOWN,
            bad_line(Fault::BareCr),
            bad_data(Fault::Nul),
        ] {
            assert_eq!(reply.code.to_string().get(..1), reply.enhanced.get(..1), "{reply:?}");
            assert_eq!(reply.enhanced.split('.').count(), 3, "{reply:?}");
        }
    }
}
