//! A line of a table, read: the words that it may have, and what is said when one is another.

use crate::failure::{Failure, refuse};
use twinseal_proto::api::ProblemCode;
use twinseal_proto::api::admin::certsrv::{ImportLine, MemberRole};
use twinseal_proto::api::members::{Delivery, MemberSettings};
use twinseal_proto::ids::MailAddress;

/// Longest part of a wrong address that is repeated in a report, in characters.
const SHOWN: usize = 254;

/// The address of an account.
pub(super) fn account(line: &ImportLine) -> Result<MailAddress, Failure> {
    line.address.trim().parse().map_err(|e| refuse(ProblemCode::BadRequest, format!("address: {e}")))
}

/// A membership's address and what it is to be.
pub(super) fn member(line: &ImportLine) -> Result<(MailAddress, MemberSettings), Failure> {
    let set = MemberSettings {
        role: word("role", line.role.as_ref(), &[("member", MemberRole::Member), ("owner", MemberRole::Owner)])?,
        delivery: word("delivery", line.delivery.as_ref(), &[("on", Delivery::On), ("off", Delivery::Off)])?,
        own_posts: word("own_posts", line.own_posts.as_ref(), &[("true", true), ("false", false)])?,
        hidden: word("hidden", line.hidden.as_ref(), &[("true", true), ("false", false)])?,
    };
    Ok((account(line)?, set))
}

fn word<T: Copy>(name: &str, found: Option<&String>, known: &[(&str, T)]) -> Result<Option<T>, Failure> {
    let Some(text) = found.map(|text| text.trim()).filter(|text| !text.is_empty()) else { return Ok(None) };
    let hit = known.iter().find(|(word, _)| text.eq_ignore_ascii_case(word));
    let wanted = || known.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(" or ");
    hit.map(|(_, value)| Some(*value)).ok_or_else(|| {
        refuse(ProblemCode::BadRequest, format!("{name}: {:?} where {} is wanted", shown(text), wanted()))
    })
}

/// What was written, as far as it can be shown on one line.
pub(super) fn shown(text: &str) -> String {
    text.chars().take(SHOWN).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn line(address: &str, role: &str, delivery: &str, own_posts: &str) -> ImportLine {
        let some = |text: &str| Some(text.to_owned());
        ImportLine {
            line: 1,
            address: address.to_owned(),
            role: some(role),
            delivery: some(delivery),
            own_posts: some(own_posts),
            hidden: None,
        }
    }

    #[test]
    fn the_words_are_read_and_a_wrong_one_is_named() {
        let (address, set) = member(&line(" ann@x.test ", "Owner", "", "false")).unwrap();
        assert_eq!(address.as_str(), "ann@x.test");
        let wanted = MemberSettings { role: Some(MemberRole::Owner), own_posts: Some(false), ..Default::default() };
        assert_eq!(set, wanted);
        let wrong = [
            (line("ann", "", "", ""), "address"),
            (line("a@x", "boss", "", ""), "role: \"boss\" where member or owner"),
            (line("a@x", "", "maybe", ""), "delivery"),
            (line("a@x", "", "", "1"), "own_posts"),
        ];
        for (line, named) in wrong {
            let Failure::Refused(problem) = member(&line).unwrap_err() else { unreachable!() };
            assert!(problem.detail.starts_with(named), "{}", problem.detail);
        }
        assert_eq!(shown("a\r\nb"), "a\u{fffd}\u{fffd}b");
    }
}
