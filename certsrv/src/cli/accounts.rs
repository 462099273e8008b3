//! Doing what the command line asks for accounts.

use super::Account;
use super::run::{At, Outcome, read_password};
use super::tables;
use serde_json::json;
use twinseal_proto::api::admin::Nothing;
use twinseal_proto::api::admin::accounts::{
    Account as Shown, AccountRequest, ListAccounts, LockAccount, RemoveAccount, SetPassword, SetPasswordRequest,
    ShowAccount, UnlockAccount, Whose,
};
use twinseal_proto::api::admin::certsrv::{
    AddAccounts, AddAccountsRequest, EnrolToken, EnrolTokenRequest, NewAccount, UnbindAccount, UnbindAccountRequest,
};

impl At<'_> {
    /// Locks the account that a certificate belongs to.
    pub(super) async fn lock_holder(&self, serial: &str) -> Outcome<()> {
        self.call::<LockAccount>(&Whose::Serial(serial.to_owned())).await?;
        Ok(())
    }

    /// `account …`.
    pub(super) async fn account(&self, command: Account) -> Outcome<()> {
        let (done, address) = match command {
            Account::Add { address, password_file } => {
                let password = password_file.as_deref().map(read_password).transpose()?;
                let account = NewAccount { address: address.clone(), password, public_key: None };
                self.call::<AddAccounts>(&AddAccountsRequest { accounts: vec![account] }).await?;
                return self.show(&json!({ "added": [&address] }), &format!("{address} added"));
            }
            Account::Import(asked) => return tables::import_accounts(self, asked).await,
            Account::Token { address } => {
                let issued = self.call::<EnrolToken>(&EnrolTokenRequest { address }).await?;
                return self.show(&issued, &issued.token);
            }
            Account::Unbind { address } => {
                let text = format!("the next SAML log-in binds {address} anew");
                let changed = self.call::<UnbindAccount>(&UnbindAccountRequest { address }).await?;
                return self.show(&changed, &text);
            }
            Account::Lock { address } => {
                (self.call::<LockAccount>(&Whose::Address(address.clone())).await?, (address, "locked"))
            }
            Account::Unlock { address } => {
                (self.call::<UnlockAccount>(&AccountRequest { address: address.clone() }).await?, (address, "unlocked"))
            }
            Account::Password { address, password_file } => {
                let password = password_file.as_deref().map(read_password).transpose()?;
                let text = if password.is_some() { "has another password" } else { "has no password any more" };
                let request = SetPasswordRequest { address: address.clone(), password };
                (self.call::<SetPassword>(&request).await?, (address, text))
            }
            Account::Remove { address } => {
                (self.call::<RemoveAccount>(&AccountRequest { address: address.clone() }).await?, (address, "removed"))
            }
            Account::List => {
                let accounts = self.call::<ListAccounts>(&Nothing {}).await?;
                let lines = accounts.iter().map(line).collect::<Vec<_>>().join("\n");
                return self.show(&accounts, &lines);
            }
            Account::Show { address } => {
                let shown = self.call::<ShowAccount>(&AccountRequest { address }).await?;
                let mut text = line(&shown.account);
                for one in &shown.certificates {
                    let state = if one.live { "live" } else { "over" };
                    let from = if one.foreign { "\tof another CA" } else { "" };
                    text.push_str(&format!("\n{}\t{}\tuntil {}\t{state}{from}", one.serial, one.purpose, one.until));
                }
                return self.show(&shown, &text);
            }
        };
        let (address, text) = address;
        self.show(&json!({ "address": address, "sequence": done.sequence }), &format!("{address} {text}"))
    }
}

/// An account in a line.
fn line(account: &Shown) -> String {
    let service = if account.encryption.is_some() { "secure" } else { "no certificate" };
    let log_in = match (account.locked, account.password) {
        (true, _) => "locked",
        (false, true) => "password",
        (false, false) => "no password",
    };
    format!("{}\t{service}\t{log_in}", account.address)
}
