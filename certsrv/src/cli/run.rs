//! Doing what the command line asks for, and showing the answer to people or as JSON.

mod notice;

use super::{CaCommand, Cli, Command, Feed, Service, groups, members, requests};
use crate::config::{CaKeyHolder, Config};
use crate::layout::Layout;
use crate::offline_root;
use crate::saml::Saml;
use crate::serve::serve;
use crate::{backup, init, restore};
use serde::Serialize;
use serde_json::json;
use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use twinseal_proto::api::Endpoint;
use twinseal_proto::api::admin::certsrv::{
    Changed, ListPins, Revoke, RevokeRequest, ServiceToken, ServiceTokenRequest,
};
use twinseal_proto::api::admin::feed::RotateFeedKey;
use twinseal_proto::api::admin::{GetStatus, Nothing};
use twinseal_proto::time::UnixTime;
use twinseal_svc::keys::passphrase::Passphrase;
use twinseal_svc::{admin, durable, telemetry};

pub(super) type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

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
            Command::CheckConfig => {
                Saml::load(&config, UnixTime::now())?;
                at.show(&json!({ "ok": true }), "the configuration is sound")
            }
            Command::Status => at.status().await,
            // It has exit codes of its own.
            Command::Doctor { .. } => Ok(()),
            Command::Account(command) => at.account(command).await,
            Command::Group(command) => groups::run(&at, command).await,
            Command::Member(command) => members::run(&at, command).await,
            Command::Request(command) => requests::run(&at, command).await,
            Command::Service(command) => at.service(command).await,
            Command::Notice(command) => at.notice(command).await,
            Command::Feed(Feed::RotateKey) => {
                let rotated = at.call::<RotateFeedKey>(&Nothing {}).await?;
                at.show(&rotated, &format!("another key signs the feed after entry {}", rotated.sequence))
            }
            Command::Backup { out } => at.backup(&out).await,
            Command::Restore { from, generation } => {
                let restored = restore::restore(&config, &from, generation).await?;
                at.show(&restored, &after_restore(&restored))
            }
            Command::Revoke { serial, reason, lock_account } => {
                if lock_account {
                    // First: whoever has the key is not to get another certificate in between.
                    at.lock_holder(&serial).await?;
                }
                let changed = at.call::<Revoke>(&RevokeRequest { serial, reason }).await?;
                at.show(&changed, &format!("revoked (feed at {})", changed.sequence))
            }
        }
    }
}

/// The running service, and how answers are shown.
pub(super) struct At<'a> {
    config: &'a Config,
    /// As JSON.
    pub(super) json: bool,
}

impl At<'_> {
    /// Makes a call on the admin socket.
    pub(super) async fn call<E: Endpoint>(&self, request: &E::Request) -> Outcome<E::Response> {
        Ok(admin::call::<E>(&self.config.admin_socket, request).await?)
    }

    /// Prints `value` as JSON, or `text`.
    #[expect(clippy::print_stdout, reason = "the answer of a command goes to standard output")]
    pub(super) fn show<T: Serialize>(&self, value: &T, text: &str) -> Outcome<()> {
        if self.json {
            println!("{}", serde_json::to_string(value)?);
        } else if !text.is_empty() {
            println!("{text}");
        }
        Ok(())
    }

    /// Shows that a change is in force.
    pub(super) fn changed(&self, changed: &Changed) -> Outcome<()> {
        self.show(changed, &format!("in force (feed at {})", changed.sequence))
    }

    async fn status(&self) -> Outcome<()> {
        let status = self.call::<GetStatus>(&Nothing {}).await?;
        let ready = if status.ready { "ready" } else { "not ready" };
        let mut text = format!("{} {}: {ready}, feed at {}", status.service, status.version, status.feed_sequence);
        for warning in &status.warnings {
            text.push_str(&format!("\nwarning: {warning}"));
        }
        let waiting = self.waiting().await?;
        text.push_str(&waiting.text());
        let mut json = serde_json::to_value(&status)?;
        waiting.put_into(&mut json);
        self.show(&json, &text)
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

pub(super) fn read_password(path: &Path) -> Outcome<String> {
    let octets = durable::read_secret(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let text = std::str::from_utf8(&octets).map_err(|_| format!("{}: not UTF-8", path.display()))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}
