//! Tables of members and accounts in files: CSV with a header line, or JSON as an array of objects with the same names.

use super::run::{At, Outcome};
use crate::import::csv;
use clap::ValueEnum;
use serde::Deserialize;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use twinseal_proto::api::admin::certsrv::{
    ImportAccounts, ImportAccountsRequest, ImportLine, ImportMembers, ImportMembersRequest, ImportReport, ImportWhat,
    ListMembers, MemberRole,
};
use twinseal_proto::api::groups::ListRequest;
use twinseal_proto::api::members::Delivery;
use twinseal_proto::ids::ListAddress;

/// The columns that a table may have; `address` it must have.
const COLUMNS: [&str; 5] = ["address", "role", "delivery", "own_posts", "hidden"];
/// Largest file in octets.
const MAX_FILE: u64 = 32 * 1024 * 1024;

#[derive(Debug, clap::Args)]
pub(super) struct Table {
    /// The table
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
    /// How it is written, if its name does not end so
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Changes nothing, and tells what would be changed
    #[arg(long)]
    dry_run: bool,
    /// All lines or none
    #[arg(long)]
    strict: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Comma-separated values (RFC 4180)
    Csv,
    /// JSON
    Json,
}

pub(super) async fn import_members(at: &At<'_>, list: ListAddress, asked: Table) -> Outcome<()> {
    let lines = lines(&asked, &COLUMNS)?;
    let request = ImportMembersRequest { list, lines, dry_run: asked.dry_run, strict: asked.strict };
    report(at, &at.call::<ImportMembers>(&request).await?, &asked)
}

pub(super) async fn import_accounts(at: &At<'_>, asked: Table) -> Outcome<()> {
    let lines = lines(&asked, &["address"])?;
    let request = ImportAccountsRequest { lines, dry_run: asked.dry_run, strict: asked.strict };
    report(at, &at.call::<ImportAccounts>(&request).await?, &asked)
}

/// Shows what became of the lines; those that stay as they are are only counted. Fails when nothing was done that should
/// have been.
fn report(at: &At<'_>, report: &ImportReport, asked: &Table) -> Outcome<()> {
    let count = |what| report.lines.iter().filter(|line| line.what == what).count();
    let mut text: Vec<String> = report
        .lines
        .iter()
        .filter(|line| line.what != ImportWhat::Unchanged)
        .map(|line| {
            let what = format!("{:?}", line.what).to_lowercase();
            let reason = line.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
            format!("line {}\t{}\t{what}{reason}", line.line, line.address)
        })
        .collect();
    text.push(format!(
        "{} added, {} changed, {} unchanged, {} refused{}",
        count(ImportWhat::Added),
        count(ImportWhat::Changed),
        count(ImportWhat::Unchanged),
        count(ImportWhat::Refused),
        if report.done { "" } else { "; nothing was done" }
    ));
    at.show(report, &text.join("\n"))?;
    if asked.strict && count(ImportWhat::Refused) > 0 {
        return Err("lines were refused, so nothing was done: correct them, or import without --strict".into());
    }
    Ok(())
}

fn lines(asked: &Table, columns: &[&str]) -> Outcome<Vec<ImportLine>> {
    let at = |e: &dyn std::fmt::Display| format!("{}: {e}", asked.file.display());
    let text = read(&asked.file).map_err(|e| at(&e))?;
    let json = asked.file.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("json"));
    match asked.format.unwrap_or(if json { Format::Json } else { Format::Csv }) {
        Format::Csv => from_csv(&text, columns).map_err(|e| at(&e).into()),
        Format::Json => from_json(&text).map_err(|e| at(&e).into()),
    }
}

fn read(path: &Path) -> Result<String, String> {
    if std::fs::metadata(path).map_err(|e| e.to_string())?.len() > MAX_FILE {
        return Err(format!("more than {MAX_FILE} octets: cut it in parts"));
    }
    let octets = std::fs::read(path).map_err(|e| e.to_string())?;
    String::from_utf8(octets).map_err(|_| "not UTF-8".to_owned())
}

fn from_csv(text: &str, columns: &[&str]) -> Result<Vec<ImportLine>, String> {
    let mut rows = csv::read(text).map_err(|e| e.to_string())?.into_iter();
    let header = rows.next().ok_or("an empty table; a header line is wanted: address,…")?;
    let mut places = HashMap::new();
    for (place, name) in header.cells.iter().enumerate() {
        let name = name.trim().to_ascii_lowercase();
        if !columns.contains(&name.as_str()) {
            let known = columns.join(", ");
            return Err(format!("line {}: {name:?} is no column; {known} are, in a header line", header.line));
        }
        if places.insert(name.clone(), place).is_some() {
            return Err(format!("line {}: the column {name} is there twice", header.line));
        }
    }
    if !places.contains_key("address") {
        return Err(format!("line {}: no column address in the header line", header.line));
    }
    let mut lines = Vec::new();
    for row in rows {
        if row.cells.len() > header.cells.len() {
            return Err(format!("line {}: {} cells under {} columns", row.line, row.cells.len(), header.cells.len()));
        }
        let cell = |name: &str| places.get(name).and_then(|place| row.cells.get(*place)).cloned();
        lines.push(ImportLine {
            line: row.line,
            address: cell("address").unwrap_or_default(),
            role: cell("role"),
            delivery: cell("delivery"),
            own_posts: cell("own_posts"),
            hidden: cell("hidden"),
        });
    }
    Ok(lines)
}

/// An object of a table in JSON, as `group export --json` writes it. Its place in the array is its line.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    address: String,
    role: Option<String>,
    delivery: Option<String>,
    own_posts: Option<bool>,
    hidden: Option<bool>,
}

fn from_json(text: &str) -> Result<Vec<ImportLine>, String> {
    let entries: Vec<Entry> = serde_json::from_str(text).map_err(|e| e.to_string())?;
    let line = |(entry, line): (Entry, u64)| ImportLine {
        line,
        address: entry.address,
        role: entry.role,
        delivery: entry.delivery,
        own_posts: entry.own_posts.map(|on| on.to_string()),
        hidden: entry.hidden.map(|on| on.to_string()),
    };
    Ok(entries.into_iter().zip(1..).map(line).collect())
}

/// Writes the members of a list as a table that [`import_members`] reads: JSON where answers are, else CSV.
pub(super) async fn export(at: &At<'_>, list: ListAddress) -> Outcome<()> {
    let members = at.call::<ListMembers>(&ListRequest { list }).await?;
    let role = |role| if role == MemberRole::Owner { "owner" } else { "member" };
    let delivery = |delivery| if delivery == Delivery::On { "on" } else { "off" };
    let mut text = csv::write(&COLUMNS);
    let mut entries = Vec::with_capacity(members.len());
    for member in &members {
        let (role, options) = (role(member.role), &member.options);
        let (delivery, own, hidden) =
            (delivery(options.delivery), options.own_posts.to_string(), options.hidden.to_string());
        text.push_str(&csv::write(&[member.address.as_str(), role, delivery, &own, &hidden]));
        entries.push(serde_json::json!({
            "address": member.address, "role": role, "delivery": delivery,
            "own_posts": options.own_posts, "hidden": options.hidden,
        }));
    }
    at.show(&entries, text.trim_end_matches("\r\n"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn the_header_line_says_what_the_columns_are() {
        let lines = from_csv("Hidden, address\ntrue,ann@x.test\n,bob@x.test\n", &COLUMNS).unwrap();
        assert_eq!(lines.len(), 2);
        assert_eq!((lines[0].line, lines[0].address.as_str()), (2, "ann@x.test"));
        assert_eq!(lines[0].hidden.as_deref(), Some("true"));
        assert_eq!(lines[0].role, None);
        let wrong = [
            ("", "header line"),
            ("ann@x.test\n", "is no column"),
            ("role\nowner\n", "no column address"),
            ("address,address\n", "twice"),
            ("address\na@x,owner\n", "line 2: 2 cells"),
            ("address\n\"a@x\n", "line 2"),
        ];
        for (table, named) in wrong {
            let error = from_csv(table, &COLUMNS).unwrap_err();
            assert!(error.contains(named), "{table:?}: {error}");
        }
        assert!(from_csv("address,role\n", &["address"]).is_err(), "accounts have no role");
    }

    #[test]
    fn json_has_the_same_names() {
        let lines = from_json(r#"[{"address":"a@x"},{"address":"b@x","own_posts":false,"role":"owner"}]"#).unwrap();
        assert_eq!((lines[1].line, lines[1].own_posts.as_deref()), (2, Some("false")));
        assert!(from_json(r#"[{"address":"a@x","rule":"owner"}]"#).is_err());
    }
}
