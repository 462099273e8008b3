//! `group`: lists and their settings, and their members as tables.

use super::parse;
use super::run::{At, Outcome};
use super::tables::{self, Table};
use clap::Subcommand;
use twinseal_proto::api::admin::Nothing;
use twinseal_proto::api::admin::certsrv::{CreateGroup as CreateGroupCall, CreateGroupRequest, ListGroups};
use twinseal_proto::api::groups::{
    DeleteGroup, GroupDetails, GroupSettings, JoinPolicy, KeyChangePolicy, ListRequest, RosterVisibility, SetGroup,
    SetGroupRequest, ShowGroup,
};
use twinseal_proto::api::members::{AddOwner, MemberRequest, RemoveOwner};
use twinseal_proto::feed::{ContentPolicy, DeliveryMode, History, ListSettings, PostLevel};
use twinseal_proto::ids::{ListAddress, MailAddress};

#[derive(Debug, Subcommand)]
pub(super) enum Group {
    /// Makes a group with its list
    Create(CreateGroup),
    /// Shows the settings of a list
    Show {
        /// The list
        list: ListAddress,
    },
    /// Changes settings of a list; those that are not named stay
    Set(SetOptions),
    /// Ends a list for good: its memberships, requests, bans and certificates
    Delete {
        /// The list
        list: ListAddress,
        /// The list again: what is deleted cannot be had back
        #[arg(long, value_name = "LIST")]
        yes: ListAddress,
    },
    /// Lists the groups
    List,
    /// Makes an account an owner, and a member where it is none
    AddOwner {
        /// The list
        list: ListAddress,
        /// The account
        address: MailAddress,
    },
    /// Makes an owner a member again; the last owner stays
    RemoveOwner {
        /// The list
        list: ListAddress,
        /// The account
        address: MailAddress,
    },
    /// Writes the members as a table (CSV; with --json, JSON) that `import` reads
    Export {
        /// The list
        list: ListAddress,
    },
    /// Puts members in, or changes them, from a table, and reports on every line
    Import {
        /// The list
        list: ListAddress,
        #[command(flatten)]
        table: Table,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct CreateGroup {
    /// The list's address
    list: ListAddress,
    /// The account that owns it
    #[arg(long, value_name = "ADDRESS")]
    owner: MailAddress,
    /// Who may join
    #[arg(long, value_parser = parse::<JoinPolicy>, default_value = "closed",
          value_name = "open|confirm|approve|invite|closed")]
    join: JoinPolicy,
    /// How sure it must be who posts
    #[arg(long, value_parser = parse::<PostLevel>, default_value = "submission", value_name = "from|submission")]
    post: PostLevel,
    /// Which messages members may open
    #[arg(long, value_parser = parse::<History>, default_value = "since-join", value_name = "since-join|all")]
    history: History,
    /// Which content encryption is taken
    #[arg(long, value_parser = parse::<ContentPolicy>, default_value = "cbc-allowed",
          value_name = "cbc-allowed|aead-required")]
    content: ContentPolicy,
    /// Takes 3DES content too, which is weak
    #[arg(long)]
    legacy_3des: bool,
    /// Largest message in octets
    #[arg(long, default_value_t = 10 * 1024 * 1024, value_name = "OCTETS")]
    max_size: u64,
    /// Let nobody read whom an owner did not sign for; so it is anyway where owners or administrators decide who joins
    /// (approve, invite, closed)
    #[arg(long, conflicts_with = "unsigned")]
    signed: bool,
    /// Let certsrv alone say who reads; so it is anyway where anybody may join (open, confirm)
    #[arg(long)]
    unsigned: bool,
    /// A phrase for people
    #[arg(long, default_value = "", value_name = "TEXT")]
    description: String,
}

impl CreateGroup {
    /// DESIGN 3.4: on by default where somebody decides who joins.
    const fn is_signed(&self) -> bool {
        let decided = matches!(self.join, JoinPolicy::Approve | JoinPolicy::Invite | JoinPolicy::Closed);
        self.signed || decided && !self.unsigned
    }
}

/// What the administrators of the other two have to do before a signed group is served.
fn next_steps(group: &twinseal_proto::api::groups::Group) -> String {
    let (list, id) = (&group.list, &group.group);
    format!(
        "\nits roster is signed by its owner: with the owner's certificate in FILE run\n    twinseal-groupsrv group pin {id} \
         --owner-cert FILE\n    twinseal-exploder group pin {list} --owner-cert FILE\nand let the owner sign: twinseal owner \
         sign {list}"
    )
}

impl From<CreateGroup> for CreateGroupRequest {
    fn from(asked: CreateGroup) -> Self {
        let signed = asked.is_signed();
        Self {
            list: asked.list,
            owner: asked.owner,
            mode: DeliveryMode::default(),
            history: asked.history,
            join: asked.join,
            signed,
            settings: ListSettings {
                post: asked.post,
                content: asked.content,
                legacy_3des: asked.legacy_3des,
                max_size: asked.max_size,
                description: asked.description,
            },
        }
    }
}

#[derive(Debug, clap::Args)]
pub(super) struct SetOptions {
    /// The list
    list: ListAddress,
    /// Who may join
    #[arg(long, value_parser = parse::<JoinPolicy>, value_name = "open|confirm|approve|invite|closed")]
    join: Option<JoinPolicy>,
    /// What lets members replace a live key, apart from the old key
    #[arg(long, value_parser = parse::<KeyChangePolicy>, value_name = "approve|high")]
    key_change: Option<KeyChangePolicy>,
    /// Which messages members may open
    #[arg(long, value_parser = parse::<History>, value_name = "since-join|all")]
    history: Option<History>,
    /// Who may see who belongs to the list
    #[arg(long, value_parser = parse::<RosterVisibility>, value_name = "owners|members")]
    roster: Option<RosterVisibility>,
    /// Owners are told by mail who joins and leaves
    #[arg(long, value_parser = super::on_off, value_name = "on|off")]
    notices: Option<bool>,
    /// How sure it must be who posts
    #[arg(long, value_parser = parse::<PostLevel>, value_name = "from|submission")]
    post: Option<PostLevel>,
    /// Which content encryption is taken
    #[arg(long, value_parser = parse::<ContentPolicy>, value_name = "cbc-allowed|aead-required")]
    content: Option<ContentPolicy>,
    /// Takes 3DES content too, which is weak
    #[arg(long, value_parser = super::on_off, value_name = "on|off")]
    legacy_3des: Option<bool>,
    /// Largest message in octets
    #[arg(long, value_name = "OCTETS")]
    max_size: Option<u64>,
    /// A phrase for people
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
}

impl From<SetOptions> for SetGroupRequest {
    fn from(asked: SetOptions) -> Self {
        let set = GroupSettings {
            join: asked.join,
            key_change: asked.key_change,
            mode: None,
            history: asked.history,
            roster: asked.roster,
            notices: asked.notices,
            post: asked.post,
            content: asked.content,
            legacy_3des: asked.legacy_3des,
            max_size: asked.max_size,
            description: asked.description,
        };
        Self { list: asked.list, set }
    }
}

pub(super) async fn run(at: &At<'_>, command: Group) -> Outcome<()> {
    match command {
        Group::Create(asked) => {
            let request: CreateGroupRequest = asked.into();
            let signed = request.signed;
            let group = at.call::<CreateGroupCall>(&request).await?;
            let next = if signed { next_steps(&group) } else { String::new() };
            at.show(&group, &format!("{} created: group {}{next}", group.list, group.group))
        }
        Group::Show { list } => {
            let found = at.call::<ShowGroup>(&ListRequest { list }).await?;
            at.show(&found, &details(&found)?)
        }
        Group::Set(asked) => at.changed(&at.call::<SetGroup>(&asked.into()).await?),
        Group::Delete { list, yes } => {
            if list != yes {
                return Err(format!("--yes names {yes}, not {list}; nothing was deleted").into());
            }
            at.changed(&at.call::<DeleteGroup>(&ListRequest { list }).await?)
        }
        Group::List => {
            let groups = at.call::<ListGroups>(&Nothing {}).await?;
            let lines =
                groups.iter().map(|g| format!("{}\t{}\t{} members\towner {}", g.list, g.group, g.members, g.owner));
            at.show(&groups, &lines.collect::<Vec<_>>().join("\n"))
        }
        Group::AddOwner { list, address } => at.changed(&at.call::<AddOwner>(&MemberRequest { list, address }).await?),
        Group::RemoveOwner { list, address } => {
            at.changed(&at.call::<RemoveOwner>(&MemberRequest { list, address }).await?)
        }
        Group::Export { list } => tables::export(at, list).await,
        Group::Import { list, table } => tables::import_members(at, list, table).await,
    }
}

/// A line a setting, in the words that `set` takes.
fn details(found: &GroupDetails) -> Outcome<String> {
    let serde_json::Value::Object(fields) = serde_json::to_value(found)? else { return Ok(String::new()) };
    let mut lines = Vec::new();
    let mut put = |name: &str, value: &serde_json::Value| {
        let text = match value {
            serde_json::Value::String(text) => text.clone(),
            serde_json::Value::Array(all) => all.iter().filter_map(|one| one.as_str()).collect::<Vec<_>>().join(", "),
            other => other.to_string(),
        };
        lines.push(format!("{name}: {text}"));
    };
    for (name, value) in &fields {
        match value {
            serde_json::Value::Object(inner) => inner.iter().for_each(|(name, value)| put(name, value)),
            _ => put(name, value),
        }
    }
    Ok(lines.join("\n"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use clap::Parser as _;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        create: CreateGroup,
    }

    #[test]
    fn owners_sign_where_somebody_decides_who_joins_unless_it_is_said_otherwise() {
        let signed = |more: &str| {
            let line = format!("x team@lists.test --owner owner@members.test {more}");
            Line::try_parse_from(line.split_whitespace()).map(|line| CreateGroupRequest::from(line.create).signed).ok()
        };
        for (more, wanted) in [
            ("", Some(true)),
            ("--join invite", Some(true)),
            ("--join approve", Some(true)),
            ("--join open", Some(false)),
            ("--join confirm", Some(false)),
            ("--join confirm --signed", Some(true)),
            ("--unsigned", Some(false)),
            ("--signed --unsigned", None),
        ] {
            assert_eq!(signed(more), wanted, "{more}");
        }
    }
}
