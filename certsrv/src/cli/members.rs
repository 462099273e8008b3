//! `member`: who belongs to a list, and who may not.

use super::parse;
use super::run::{At, Outcome};
use clap::Subcommand;
use twinseal_proto::api::groups::ListRequest;
use twinseal_proto::api::members::{
    AddMembers, Ban, BanRequest, Delivery, Invite, ListBans, ListMembers, MemberRole, MemberSettings, MembersRequest,
    RemoveMembers, SetMember, SetMemberRequest, Unban,
};
use twinseal_proto::ids::{BanPattern, ListAddress, MailAddress};

#[derive(Debug, Subcommand)]
pub(super) enum Member {
    /// Puts accounts into a list; all or none
    Add(Many),
    /// Takes accounts out of a list; all or none
    Remove(Many),
    /// Invites addresses, with an account or without: each belongs to the list once it accepts
    Invite(Many),
    /// Changes role or options of a member; those that are not named stay
    Set {
        /// The list
        list: ListAddress,
        /// The account
        address: MailAddress,
        /// What it may do
        #[arg(long, value_parser = parse::<MemberRole>, value_name = "member|owner")]
        role: Option<MemberRole>,
        /// Whether it is sent copies; who is sent none may post all the same
        #[arg(long, value_parser = parse::<Delivery>, value_name = "on|off")]
        delivery: Option<Delivery>,
        /// Whether it is sent copies of its own posts
        #[arg(long, value_parser = super::on_off, value_name = "on|off")]
        own_posts: Option<bool>,
        /// Not shown to other members
        #[arg(long, value_parser = super::on_off, value_name = "on|off")]
        hidden: Option<bool>,
    },
    /// Lists the members
    List {
        /// The list
        list: ListAddress,
    },
    /// Bans an address, a domain (@DOMAIN) or what is below one (*.DOMAIN): ends memberships and lets in no more
    Ban(Pattern),
    /// Lifts a ban
    Unban(Pattern),
    /// Lists the bans
    Bans {
        /// The list
        list: ListAddress,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct Many {
    /// The list
    list: ListAddress,
    /// The accounts
    #[arg(required = true)]
    addresses: Vec<MailAddress>,
}

impl From<Many> for MembersRequest {
    fn from(many: Many) -> Self {
        Self { list: many.list, addresses: many.addresses }
    }
}

#[derive(Debug, clap::Args)]
pub(super) struct Pattern {
    /// The list
    list: ListAddress,
    /// ADDRESS, @DOMAIN or *.DOMAIN
    pattern: BanPattern,
}

impl From<Pattern> for BanRequest {
    fn from(asked: Pattern) -> Self {
        Self { list: asked.list, pattern: asked.pattern }
    }
}

pub(super) async fn run(at: &At<'_>, command: Member) -> Outcome<()> {
    match command {
        Member::Add(many) => at.changed(&at.call::<AddMembers>(&many.into()).await?),
        Member::Remove(many) => at.changed(&at.call::<RemoveMembers>(&many.into()).await?),
        Member::Invite(many) => at.changed(&at.call::<Invite>(&many.into()).await?),
        Member::Set { list, address, role, delivery, own_posts, hidden } => {
            let set = MemberSettings { role, delivery, own_posts, hidden };
            at.changed(&at.call::<SetMember>(&SetMemberRequest { list, address: Some(address), set }).await?)
        }
        Member::List { list } => {
            let members = at.call::<ListMembers>(&ListRequest { list }).await?;
            let lines = members.iter().map(|m| {
                let stands = format!("{:?}\t{:?}", m.role, m.state).to_lowercase();
                let delivery = if m.options.delivery == Delivery::Off { "\tdelivery off" } else { "" };
                format!("{}\t{stands}\t{}{delivery}", m.address, m.serial.as_deref().unwrap_or("-"))
            });
            at.show(&members, &lines.collect::<Vec<_>>().join("\n"))
        }
        Member::Ban(pattern) => at.changed(&at.call::<Ban>(&pattern.into()).await?),
        Member::Unban(pattern) => at.changed(&at.call::<Unban>(&pattern.into()).await?),
        Member::Bans { list } => {
            let bans = at.call::<ListBans>(&ListRequest { list }).await?;
            at.show(&bans, &bans.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
        }
    }
}
