//! The index, row by row, against one that the feed log made just now.

use super::Findings;
use crate::layout::Layout;
use serde_json::Value;
use std::cmp::Ordering;
use twinseal_svc::store::{Store, StoreError, Table};

/// Differences after which no more are told.
const MOST: u32 = 20;

/// Compares every table of `live` with `rebuilt`. Rows hold password hashes: findings name them and do not show them.
pub(super) fn compare(
    live: &Store,
    rebuilt: &Store,
    layout: &Layout,
    findings: &mut Findings,
) -> Result<(), StoreError> {
    let mut told = 0;
    // The last number is the engine's own mark.
    for table in (0..u8::MAX).map(Table) {
        let (mut ours, mut theirs) = (live.scan::<Value>(table, &[]), rebuilt.scan::<Value>(table, &[]));
        let (mut one, mut other) = (next(&mut ours)?, next(&mut theirs)?);
        while told < MOST {
            let order = match (&one, &other) {
                (None, None) => break,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some((a, _)), Some((b, _))) => a.cmp(b),
            };
            let differs = match order {
                Ordering::Less => one.as_ref().map(|(key, _)| (key, "is not in the feed log")),
                Ordering::Greater => other.as_ref().map(|(key, _)| (key, "is missing")),
                Ordering::Equal if one == other => None,
                Ordering::Equal => one.as_ref().map(|(key, _)| (key, "is not what the feed log says")),
            };
            if let Some((key, what)) = differs {
                told += 1;
                let key: String = key.iter().map(|octet| format!("{octet:02x}")).collect();
                let remedy = "stop the service and remove the index: it is made anew at the next start";
                findings.add(format!("index: table {}, row {key} {what}", table.0), &layout.index(), remedy);
            }
            if order.is_le() {
                one = next(&mut ours)?;
            }
            if order.is_ge() {
                other = next(&mut theirs)?;
            }
        }
    }
    Ok(())
}

type Row = (Vec<u8>, Value);

fn next(rows: &mut impl Iterator<Item = Result<Row, StoreError>>) -> Result<Option<Row>, StoreError> {
    rows.next().transpose()
}
