//! Many accounts or members at once, from a table. Every line of it is reported on.

use crate::api::Endpoint;
use crate::ids::ListAddress;
use serde::{Deserialize, Serialize};

/// `POST /v1/admin/accounts/import`: accounts without password or key.
pub struct ImportAccounts;

impl Endpoint for ImportAccounts {
    const PATH: &'static str = "/v1/admin/accounts/import";
    const MAX_BODY: usize = 64 * 1024 * 1024;
    type Request = ImportAccountsRequest;
    type Response = ImportReport;
}

/// `POST /v1/admin/members/import`: puts accounts into a list, or gives memberships another role and other options.
pub struct ImportMembers;

impl Endpoint for ImportMembers {
    const PATH: &'static str = "/v1/admin/members/import";
    const MAX_BODY: usize = 64 * 1024 * 1024;
    type Request = ImportMembersRequest;
    type Response = ImportReport;
}

/// The accounts to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportAccountsRequest {
    /// At most 100,000; only the address is read.
    pub lines: Vec<ImportLine>,
    /// Changes nothing, and tells what would be changed.
    #[serde(default)]
    pub dry_run: bool,
    /// All lines or none, in one commit; else the good lines, a thousand a commit.
    #[serde(default)]
    pub strict: bool,
}

/// The members to put in or to change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportMembersRequest {
    /// The list.
    pub list: ListAddress,
    /// At most 100,000.
    pub lines: Vec<ImportLine>,
    /// Changes nothing, and tells what would be changed.
    #[serde(default)]
    pub dry_run: bool,
    /// All lines or none, in one commit; else the good lines, a thousand a commit.
    #[serde(default)]
    pub strict: bool,
}

/// A line as it was written: what is wrong in it is reported, not refused. Words that are absent or empty change nothing
/// in a membership, and mean the default in a new one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportLine {
    /// Its number in the table, for the report.
    pub line: u64,
    /// The account.
    pub address: String,
    /// `member` or `owner`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// `on` or `off`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<String>,
    /// `true` or `false`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own_posts: Option<String>,
    /// `true` or `false`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hidden: Option<String>,
}

/// What became of a table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportReport {
    /// Whether anything was changed: not in a dry run, and not when a line of a strict one was refused.
    pub done: bool,
    /// Every line, in order.
    pub lines: Vec<ReportLine>,
}

/// What became of a line, or in a dry run would.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReportLine {
    /// Its number in the table.
    pub line: u64,
    /// The address as it was written, at most 254 characters of it.
    pub address: String,
    /// What.
    pub what: ImportWhat,
    /// Why, where it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What becomes of a line of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ImportWhat {
    /// There is something new.
    Added,
    /// What was there is another now.
    Changed,
    /// It was so already.
    Unchanged,
    /// Nothing was done.
    Refused,
}
