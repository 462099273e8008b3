//! Doing what the command line asks for, and showing the answer to people or as JSON.

mod notice;

use super::{Cli, Command, Service, groups, members, requests};
use crate::config::Config;
use crate::init;
use crate::layout::Layout;
use crate::saml::Saml;
use crate::serve::serve;
use serde::Serialize;
use serde_json::json;
use std::error::Error;
use std::path::Path;
use twinseal_proto::api::Endpoint;
use twinseal_proto::api::admin::certsrv::{
    Changed, ListPins, Revoke, RevokeRequest, ServiceToken, ServiceTokenRequest,
};
use twinseal_proto::api::admin::{GetStatus, Nothing};
use twinseal_proto::time::UnixTime;
use twinseal_svc::{admin, durable, telemetry};

pub(super) type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

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
            Command::CheckConfig => {
                Saml::load(&config, UnixTime::now())?;
                at.show(&json!({ "ok": true }), "the configuration is sound")
            }
            Command::Status => at.status().await,
            Command::Account(command) => at.account(command).await,
            Command::Group(command) => groups::run(&at, command).await,
            Command::Member(command) => members::run(&at, command).await,
            Command::Request(command) => requests::run(&at, command).await,
            Command::Service(command) => at.service(command).await,
            Command::Notice(command) => at.notice(command).await,
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

pub(super) fn read_password(path: &Path) -> Outcome<String> {
    let octets = durable::read_secret(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let text = std::str::from_utf8(&octets).map_err(|_| format!("{}: not UTF-8", path.display()))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}
