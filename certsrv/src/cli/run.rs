//! Doing what the command line asks for, and showing the answer to people or as JSON.

use super::{Account, Cli, Command, CreateGroup, Group, Member, Service};
use crate::config::Config;
use crate::init;
use crate::layout::Layout;
use crate::serve::serve;
use serde::Serialize;
use serde_json::json;
use std::error::Error;
use std::path::Path;
use twinseal_proto::api::Endpoint;
use twinseal_proto::api::admin::certsrv::{
    AddAccounts, AddAccountsRequest, AddMembers, CreateGroup as CreateGroupCall, CreateGroupRequest, EnrolToken,
    EnrolTokenRequest, ListGroups, ListMembers, ListMembersRequest, ListPins, MembersRequest, NewAccount,
    RemoveMembers, Revoke, RevokeRequest, ServiceToken, ServiceTokenRequest,
};
use twinseal_proto::api::admin::{GetStatus, Nothing};
use twinseal_proto::feed::{DeliveryMode, ListSettings};
use twinseal_svc::{admin, durable, telemetry};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

impl Cli {
    /// Does what was asked for.
    ///
    /// # Errors
    /// What went wrong and, where it helps, what to try.
    pub async fn run(self) -> Outcome<()> {
        let config = Config::load(&self.config)?;
        let at = At { config: &config, json: self.json };
        match self.command {
            Command::Init { key_type } => {
                let made = init::init(&config, key_type.unwrap_or(config.ca_key_type)).await?;
                let key = made.root.with_extension("key");
                let text = format!(
                    "root CA: {}\npin: {}\nfeed: {}\n\n{} is needed by init only: take it offline now (move it to a \
                     medium that is kept apart; with it, every certificate could be forged)",
                    made.root.display(),
                    made.pin,
                    made.feed,
                    key.display()
                );
                at.show(&made, &text)
            }
            Command::Serve => {
                telemetry::init();
                serve(config).await
            }
            Command::CheckConfig => at.show(&json!({ "ok": true }), "the configuration is sound"),
            Command::Status => at.status().await,
            Command::Account(command) => at.account(command).await,
            Command::Group(command) => at.group(command).await,
            Command::Member(command) => at.member(command).await,
            Command::Service(command) => at.service(command).await,
            Command::Revoke { serial, reason } => {
                let changed = at.call::<Revoke>(&RevokeRequest { serial, reason }).await?;
                at.show(&changed, &format!("revoked (feed at {})", changed.sequence))
            }
        }
    }
}

struct At<'a> {
    config: &'a Config,
    json: bool,
}

impl At<'_> {
    async fn call<E: Endpoint>(&self, request: &E::Request) -> Outcome<E::Response> {
        Ok(admin::call::<E>(&self.config.admin_socket, request).await?)
    }

    /// Prints `value` as JSON, or `text`.
    #[expect(clippy::print_stdout, reason = "the answer of a command goes to standard output")]
    fn show<T: Serialize>(&self, value: &T, text: &str) -> Outcome<()> {
        if self.json {
            println!("{}", serde_json::to_string(value)?);
        } else if !text.is_empty() {
            println!("{text}");
        }
        Ok(())
    }

    async fn status(&self) -> Outcome<()> {
        let status = self.call::<GetStatus>(&Nothing {}).await?;
        let ready = if status.ready { "ready" } else { "not ready" };
        let mut text = format!("{} {}: {ready}, feed at {}", status.service, status.version, status.feed_sequence);
        for warning in &status.warnings {
            text.push_str(&format!("\nwarning: {warning}"));
        }
        self.show(&status, &text)
    }

    async fn account(&self, command: Account) -> Outcome<()> {
        match command {
            Account::Add { address, password_file } => {
                let password = password_file.as_deref().map(read_password).transpose()?;
                let account = NewAccount { address: address.clone(), password, public_key: None };
                self.call::<AddAccounts>(&AddAccountsRequest { accounts: vec![account] }).await?;
                self.show(&json!({ "added": [&address] }), &format!("{address} added"))
            }
            Account::Token { address } => {
                let issued = self.call::<EnrolToken>(&EnrolTokenRequest { address }).await?;
                self.show(&issued, &issued.token)
            }
        }
    }

    async fn group(&self, command: Group) -> Outcome<()> {
        match command {
            Group::Create(asked) => {
                let group = self.call::<CreateGroupCall>(&request(asked)).await?;
                self.show(&group, &format!("{} created: group {}", group.list, group.group))
            }
            Group::List => {
                let groups = self.call::<ListGroups>(&Nothing {}).await?;
                let lines =
                    groups.iter().map(|g| format!("{}\t{}\t{} members\towner {}", g.list, g.group, g.members, g.owner));
                self.show(&groups, &lines.collect::<Vec<_>>().join("\n"))
            }
        }
    }

    async fn member(&self, command: Member) -> Outcome<()> {
        match command {
            Member::Add { list, addresses } => {
                let changed = self.call::<AddMembers>(&MembersRequest { list, addresses }).await?;
                self.show(&changed, &format!("in force (feed at {})", changed.sequence))
            }
            Member::Remove { list, addresses } => {
                let changed = self.call::<RemoveMembers>(&MembersRequest { list, addresses }).await?;
                self.show(&changed, &format!("in force (feed at {})", changed.sequence))
            }
            Member::List { list } => {
                let members = self.call::<ListMembers>(&ListMembersRequest { list }).await?;
                let lines = members.iter().map(|m| {
                    let stands = format!("{:?}\t{:?}", m.role, m.state).to_lowercase();
                    format!("{}\t{stands}\t{}", m.address, m.serial.as_deref().unwrap_or("-"))
                });
                self.show(&members, &lines.collect::<Vec<_>>().join("\n"))
            }
        }
    }

    async fn service(&self, command: Service) -> Outcome<()> {
        match command {
            Service::Token { role, out } => {
                let issued = self.call::<ServiceToken>(&ServiceTokenRequest { role: role.into() }).await?;
                let out = std::path::absolute(out)?;
                durable::replace(&out, issued.token.as_bytes()).map_err(|e| format!("{}: {e}", out.display()))?;
                let root = Layout::new(&self.config.state).ca().join("root.pem");
                let text = format!(
                    "token: {}\npin of certsrv: {}\nroot CA: {}",
                    out.display(),
                    issued.certsrv_pin,
                    root.display()
                );
                self.show(&json!({ "token_file": out, "certsrv_pin": issued.certsrv_pin, "root_file": root }), &text)
            }
            Service::List => {
                let pins = self.call::<ListPins>(&Nothing {}).await?;
                let lines = pins.iter().map(|pin| format!("{:?}\t{}", pin.role, pin.pin).to_lowercase());
                self.show(&pins, &lines.collect::<Vec<_>>().join("\n"))
            }
        }
    }
}

fn request(asked: CreateGroup) -> CreateGroupRequest {
    CreateGroupRequest {
        list: asked.list,
        owner: asked.owner,
        mode: DeliveryMode::default(),
        history: asked.history,
        join: asked.join,
        signed: asked.signed,
        settings: ListSettings {
            post: asked.post,
            content: asked.content,
            legacy_3des: asked.legacy_3des,
            max_size: asked.max_size,
            description: asked.description,
        },
    }
}

fn read_password(path: &Path) -> Outcome<String> {
    let octets = durable::read_secret(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let text = std::str::from_utf8(&octets).map_err(|_| format!("{}: not UTF-8", path.display()))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}
