//! Mailboxes that certsrv never writes to: its own, lists' and those of mail programs. Anything that answers by itself
//! could answer for ever (RFC 3834 section 2, spec E8).

use crate::config::Mail;
use crate::failure::Failure;
use crate::store::Tx;
use twinseal_proto::ids::{ListAddress, MailAddress};

/// Whether `address` is such a mailbox.
pub(crate) fn is_own(tx: &Tx<'_>, mail: &Mail, address: &MailAddress) -> Result<bool, Failure> {
    let (local, domain) = (address.parts().0.to_lowercase(), address.domain());
    if address == &mail.from || is_machine(&local) {
        return Ok(true);
    }
    // The list itself, or one of its other mailboxes.
    let names = ListAddress::RESERVED.iter().filter_map(|ending| local.strip_suffix(ending)).chain([local.as_str()]);
    for name in names {
        if let Ok(list) = format!("{name}@{domain}").parse::<ListAddress>()
            && tx.group(&list)?.is_some()
        {
            return Ok(true);
        }
    }
    if !is_site(&local) {
        return Ok(false);
    }
    Ok(domain == mail.from.domain() || tx.groups()?.iter().any(|group| group.list.domain() == domain))
}

/// Local parts behind which a program sits, at any domain.
fn is_machine(local: &str) -> bool {
    local == "mailer-daemon"
        || local.starts_with("owner-")
        || ["-request", "-bounces"].iter().any(|ending| local.ends_with(ending))
}

/// Local parts that are no person's at a domain of ours.
fn is_site(local: &str) -> bool {
    matches!(local, "postmaster" | "abuse" | "noreply" | "b") || local.starts_with("b+")
}
