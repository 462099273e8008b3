//! Doing what the command line asks for, and showing the answer to people or as JSON.

use super::{Account, CaCommand, Cli, Command, CreateGroup, Feed, Group, Member, Service};
use crate::config::{CaKeyHolder, Config};
use crate::layout::Layout;
use crate::offline_root;
use crate::serve::serve;
use crate::{backup, init, restore};
use serde::Serialize;
use serde_json::json;
use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use twinseal_proto::api::Endpoint;
use twinseal_proto::api::admin::certsrv::{
    AddAccounts, AddAccountsRequest, AddMembers, CreateGroup as CreateGroupCall, CreateGroupRequest, EnrolToken,
    EnrolTokenRequest, ListGroups, ListMembers, ListMembersRequest, ListPins, MembersRequest, NewAccount,
    RemoveMembers, Revoke, RevokeRequest, ServiceToken, ServiceTokenRequest,
};
use twinseal_proto::api::admin::feed::RotateFeedKey;
use twinseal_proto::api::admin::{GetStatus, Nothing};
use twinseal_proto::feed::{DeliveryMode, ListSettings};
use twinseal_svc::keys::passphrase::Passphrase;
use twinseal_svc::{admin, durable, telemetry};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

impl Cli {
    /// Does what was asked for.
    ///
    /// # Errors
    /// What went wrong and, where it helps, what to try.
    pub async fn run(self) -> Outcome<ExitCode> {
        if let Command::Doctor { offline } = self.command {
            return Ok(super::doctor::run(&self.config, offline, self.json).await);
        }
        self.done().await.map(|()| ExitCode::SUCCESS)
    }

    async fn done(self) -> Outcome<()> {
        let config = Config::load(&self.config)?;
        let at = At { config: &config, json: self.json };
        match self.command {
            Command::Init { key_type, root_out, passphrase_file } => {
                let key_type = key_type.unwrap_or(config.ca_key_type);
                let out = root_out.is_some();
                let made = match root_out {
                    Some(path) => {
                        let passphrase = new_passphrase(passphrase_file.as_deref())?;
                        init::init_root_out(&config, key_type, init::RootOut { path, passphrase }).await?
                    }
                    None => init::init(&config, key_type).await?,
                };
                at.show(&made, &init_text(&made, out))
            }
            Command::Ca(command) => at.ca(command).await,
            Command::Serve => {
                telemetry::init();
                serve(config).await
            }
            Command::CheckConfig => at.show(&json!({ "ok": true }), "the configuration is sound"),
            Command::Status => at.status().await,
            // It has exit codes of its own.
            Command::Doctor { .. } => Ok(()),
            Command::Account(command) => at.account(command).await,
            Command::Group(command) => at.group(command).await,
            Command::Member(command) => at.member(command).await,
            Command::Service(command) => at.service(command).await,
            Command::Feed(Feed::RotateKey) => {
                let rotated = at.call::<RotateFeedKey>(&Nothing {}).await?;
                at.show(&rotated, &format!("another key signs the feed after entry {}", rotated.sequence))
            }
            Command::Backup { out } => at.backup(&out).await,
            Command::Restore { from, generation } => {
                let restored = restore::restore(&config, &from, generation).await?;
                at.show(&restored, &after_restore(&restored))
            }
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

    async fn ca(&self, command: CaCommand) -> Outcome<()> {
        match command {
            CaCommand::RenewSub { name, root_key, passphrase_file } => {
                let (root_key, passphrase_file) = (root_key.as_deref(), passphrase_file.as_deref());
                let renewed = offline_root::renew_sub(self.config, &name, root_key, passphrase_file).await?;
                let text =
                    format!("{}: serial {}, until {}", renewed.certificate.display(), renewed.serial, renewed.until);
                self.show(&renewed, &text)
            }
            CaCommand::RootOut { out, passphrase_file } => {
                let passphrase = new_passphrase(passphrase_file.as_deref())?;
                offline_root::root_out(self.config, &out, &passphrase)?;
                let text =
                    format!("{}: the only copy of the root CA's key; keep it and its passphrase apart", out.display());
                self.show(&json!({ "root_key": out }), &text)
            }
        }
    }

    async fn backup(&self, out: &Path) -> Outcome<()> {
        let made = backup::take(&self.config.admin_socket, &self.config.state, out).await?;
        self.show(&made, &backup_text(&made, self.config, out))
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

fn new_passphrase(file: Option<&Path>) -> Outcome<Passphrase> {
    Ok(Passphrase::get(file, "New passphrase of the root key: ", true)?)
}

fn init_text(made: &init::Made, out: bool) -> String {
    let key = match &made.root_key {
        Some(key) if out => format!(
            "{} is the only copy of the root CA's key, which \"ca renew-sub\" needs alone: keep it and its passphrase apart \
             (with both, every certificate could be forged)",
            key.display()
        ),
        Some(key) => format!(
            "{} is needed by \"ca renew-sub\" only: take it offline now (\"ca root-out FILE\" writes it, encrypted, to a \
             medium that is kept apart; with it, every certificate could be forged)",
            key.display()
        ),
        None => "the root CA's key is in the token, where the service could use it".to_owned(),
    };
    format!("root CA: {}\npin: {}\nfeed: {}\n\n{key}", made.root.display(), made.pin, made.feed)
}

/// What is in a backup, and what has to be kept beside it.
fn backup_text(made: &backup::Manifest, config: &Config, out: &Path) -> String {
    let credential = config.credential_file.clone().unwrap_or_else(|| config.state.join("credential"));
    let keys = match config.ca_keys.kind {
        CaKeyHolder::Pkcs11 => {
            "the private keys of the CAs are in the token and not in it: it is useless without the token, so see to the \
             token's own backup"
        }
        CaKeyHolder::File if made.has(&config.state, &credential) => {
            "the private keys of the CAs in it are sealed, and useless without the credential. The credential in the state \
             directory is in it too: where the service uses that one, whoever has the backup can forge every certificate"
        }
        CaKeyHolder::File => {
            "the private keys of the CAs in it are sealed, and useless without the credential, which is not in it: keep a \
             copy of the credential, apart from the backup"
        }
    };
    format!(
        "backup of entry {} (generation {}) in {}\n\n{keys}.\nThe feed's private key is in it as it is: whoever has that can \
         forge who belongs to which list. Keep the backup encrypted, and away from this host",
        made.sequence,
        made.generation,
        out.display()
    )
}

/// What the administrators have to do now.
fn after_restore(restored: &restore::Restored) -> String {
    let restore::Restored { generation, sequence, backup_sequence, backup_made, key } = restored;
    let key = serde_json::to_value(key).ok();
    let key = key.as_ref().and_then(serde_json::Value::as_str).unwrap_or_default();
    format!(
        "generation {generation} of the feed begins with entry {sequence}, behind entry {backup_sequence} of the backup\n\n\
         What was done since the backup was made ({backup_made}) is undone: who was removed is a member again, what was \
         revoked is good again, and one-time tokens are good no longer. Start certsrv and do it again, first of all \
         removals and revocations. Until the next step nobody acts on any of it.\n\n\
         Then, on groupsrv and on every exploder, each administrator accepts the generation:\n\
         twinseal-groupsrv feed accept-generation {generation}\n\
         twinseal-exploder feed accept-generation {generation}\n\n\
         If the feed key was replaced after the backup was made, they say so by adding: --key {key}"
    )
}

fn request(asked: CreateGroup) -> CreateGroupRequest {
    CreateGroupRequest {
        list: asked.list,
        owner: asked.owner,
        mode: DeliveryMode::default(),
        history: asked.history,
        join: asked.join,
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
