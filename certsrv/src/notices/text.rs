//! The words of every mail: facts in, subject and body out. No text that somebody else wrote is ever in them (spec L3);
//! addresses are the only words that are not ours, and the only secrets are the two tokens that are meant for the
//! mailbox.

use crate::config::Mail;
use std::fmt::Write as _;
use twinseal_proto::ids::{ListAddress, MailAddress};
use twinseal_proto::secret::Token;
use twinseal_proto::time::UnixTime;

/// Most names that one mail lists.
const MOST_NAMED: usize = 20;

/// What a mail says.
pub(crate) struct Words {
    /// ASCII, on one line, at most 78 characters.
    pub(crate) subject: String,
    /// ASCII lines, each ended by a line feed.
    pub(crate) body: String,
}

/// What a mailbox is asked to confirm.
pub(crate) enum Asked<'a> {
    /// The account wants to join.
    Join(&'a ListAddress),
    /// An owner invites the mailbox.
    Invitation(&'a ListAddress),
    /// Another key is to be certified.
    Key,
}

/// A token for logging in, good until `until`.
pub(crate) fn log_in(mail: &Mail, to: &MailAddress, token: &Token, until: UnixTime) -> Words {
    let Mail { name, url, .. } = mail;
    let token = token.expose();
    Words {
        subject: format!("{name}: your token for logging in"),
        body: format!(
            "Somebody asked to log in with this address at\n\n    {url}\n\nIf that was you, this is your token:\n\n    \
             {token}\n\nIt is good for one key, until {}.\nKeep it in a file, for you alone, and run\n\n    twinseal \
             enroll {to} \\\n        --certsrv {url} --root FILE --token-file FILE\n\nor give it as a Bearer token to a \
             program that speaks EST (RFC 7030).\n\nIf that was not you, do nothing: nothing has changed, and the token is \
             of\nno use to anybody who cannot read this mail. No other such mail is sent\nto you within a day.\n{}",
            until.rfc5322(),
            abuse(mail)
        ),
    }
}

/// A token that confirms what was asked for, good until `until`.
pub(crate) fn confirm(mail: &Mail, asked: &Asked<'_>, token: &Token, until: UnixTime) -> Words {
    let Mail { name, url, .. } = mail;
    let (subject, what) = match asked {
        Asked::Join(list) => (
            format!("{name}: do you want to join?"),
            format!("Somebody asked that this address join the list\n\n    {list}\n"),
        ),
        Asked::Invitation(list) => {
            (format!("{name}: you are invited"), format!("An owner invites you to join the list\n\n    {list}\n"))
        }
        Asked::Key => (
            format!("{name}: do you have another key?"),
            "Somebody asked that another key be certified for this address.\n".to_owned(),
        ),
    };
    Words {
        subject,
        body: format!(
            "{what}\nIf you want that, open this page and press the button:\n\n    {url}/confirm?token={token}\n\nThis is the \
             token, should the page ask for it:\n\n    {token}\n\nIt is good once, until {}.\nIf you do not want it, do \
             nothing: nothing has changed, and what was\nasked for is forgotten.\n{}",
            until.rfc5322(),
            abuse(mail),
            token = token.expose(),
        ),
    }
}

/// So many requests wait for an owner of `list`.
pub(crate) fn waiting(mail: &Mail, list: &ListAddress, count: usize) -> Words {
    Words {
        subject: format!("{}: waiting for an owner", mail.name),
        body: format!(
            "Requests wait for an owner of the list\n\n    {list}\n\nWaiting since the last such mail: {count}. You can \
             approve or reject them with\nthe twinseal tool, or have an administrator do it. After three days they\nare \
             forgotten. You get at most one such mail an hour for each list.\n"
        ),
    }
}

/// What was asked for was rejected.
pub(crate) fn rejected(mail: &Mail, list: Option<&ListAddress>) -> Words {
    let about = list.map(|list| format!("\nIt was about the list\n\n    {list}\n")).unwrap_or_default();
    Words {
        subject: format!("{}: your request was rejected", mail.name),
        body: format!(
            "An owner or an administrator rejected what was asked for this address.\nNothing has changed.\n{about}\nIf you \
             think that this is a mistake, ask an owner of the list.\n"
        ),
    }
}

/// A membership began. `fingerprint`: SHA-256 of the list's certificate; `signed`: the mail carries it.
pub(crate) fn welcome(mail: &Mail, list: &ListAddress, fingerprint: Option<&str>, signed: bool) -> Words {
    let url = &mail.url;
    let mut body = format!(
        "You are a member of the list\n\n    {list}\n\nnow. What is posted to it reaches you encrypted for your own key: your \
         mail\nprogram opens it like any other S/MIME mail.\n\nTo post, encrypt your mail to the list's certificate and send \
         it to the\nlist. The certificate is at\n\n    {url}/lists/{list}.pem\n"
    );
    if signed {
        body.push_str(
            "\nand in the signature of this mail: programs that keep the certificates of\nsigned mails have it now.\n",
        );
    }
    if let Some(print) = fingerprint {
        let lines: Vec<String> = print.as_bytes().chunks(48).map(|l| String::from_utf8_lossy(l).into_owned()).collect();
        let _ = write!(body, "\nIts SHA-256 fingerprint is\n\n    {}\n", lines.join("\n    "));
    }
    let _ = write!(
        body,
        "\nWith the twinseal tool:\n\n    twinseal send {list} < FILE\n\nTo leave, at any time:\n\n    twinseal leave \
         {list}\n\nor ask an owner of the list.\n"
    );
    Words { subject: format!("{}: welcome to a list", mail.name), body }
}

/// A membership ended.
pub(crate) fn goodbye(mail: &Mail, list: &ListAddress) -> Words {
    Words {
        subject: format!("{}: you have left a list", mail.name),
        body: format!(
            "You are no member of the list\n\n    {list}\n\nany more. Nothing that is posted from now on is encrypted for you. \
             Mail that\nyou have already stays readable with your key.\n\nIf that was not your wish, ask an owner of the \
             list.\n"
        ),
    }
}

/// The member's certificate ends at `until`, in `days` days at most.
pub(crate) fn expiry(mail: &Mail, serial: &str, until: UnixTime, days: u32) -> Words {
    let left = if days == 1 { "a day".to_owned() } else { format!("{days} days") };
    Words {
        subject: format!("{}: your certificate ends within {left}", mail.name),
        body: format!(
            "Your certificate with the serial number\n\n    {serial}\n\nends at {}. After that nothing that is\nposted to \
             your lists reaches you until you have a new one. To renew it:\n\n    twinseal renew\n\nThe server is at\n\n    \
             {}\n",
            until.rfc5322(),
            mail.url
        ),
    }
}

/// Accounts have other keys than before. `own`: the reader's own account is meant.
pub(crate) fn key_changed(mail: &Mail, own: bool, changed: &[(&MailAddress, String)]) -> Words {
    let mut body = if own {
        "Your account has another key now. The new certificate's serial number is\n\n".to_owned()
    } else {
        "Members of lists that you own have other keys now. Their certificates'\nserial numbers are\n\n".to_owned()
    };
    for (address, serial) in changed.iter().take(MOST_NAMED) {
        let _ = if own { writeln!(body, "    {serial}") } else { writeln!(body, "    {address}\n        {serial}") };
    }
    if changed.len() > MOST_NAMED {
        let _ = writeln!(body, "    and {} more", changed.len() - MOST_NAMED);
    }
    body.push_str(if own {
        "\nWhat is posted to your lists from now on is encrypted for that key.\n\nIf you did not do that, somebody else reads \
         your lists: tell an\nadministrator or an owner at once, and have the certificate revoked.\n"
    } else {
        "\nIf you doubt that it was them, ask them by another way than mail, and have\nthe certificate revoked.\n"
    });
    let whose = if own { "your key" } else { "a member's key" };
    Words { subject: format!("{}: {whose} has changed", mail.name), body: body + &abuse(mail) }
}

/// Who joined (`true`) and left lists that the reader owns.
pub(crate) fn membership(mail: &Mail, changed: &[(&ListAddress, &MailAddress, bool)]) -> Words {
    let mut body = "Members of lists that you own have changed:\n\n".to_owned();
    for (list, address, joined) in changed.iter().take(MOST_NAMED) {
        let what = if *joined { "joined" } else { "left" };
        let _ = writeln!(body, "    {address}\n        {what} {list}");
    }
    if changed.len() > MOST_NAMED {
        let _ = writeln!(body, "    and {} more", changed.len() - MOST_NAMED);
    }
    Words { subject: format!("{}: members of your lists have changed", mail.name), body }
}

fn abuse(mail: &Mail) -> String {
    format!("\nTo report abuse, write to {}.\n", mail.contact())
}
