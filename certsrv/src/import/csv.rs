//! Comma-separated values (RFC 4180), read and written for tables of members: a header line names the columns, a byte
//! order mark is allowed, line ends are CRLF or LF.
//!
//! A program for tables takes a cell that begins with `= + - @` or a tab for a formula (spec mail N8), and a mail address
//! may begin so (RFC 5322 section 3.2.3). Such a cell is written with an apostrophe before it, and one that begins with an
//! apostrophe too; reading takes exactly that apostrophe off again, so that what was exported comes back as it was.

use std::iter::Peekable;
use std::str::Chars;

/// Longest cell in octets.
const MAX_CELL: usize = 1024;

/// A line of a table: its number in the file, from 1, and its cells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    /// The number of the line on which it begins.
    pub(crate) line: u64,
    /// Its cells.
    pub(crate) cells: Vec<String>,
}

/// The text is no table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CsvError {
    /// A quoted cell has no end, or something stands after its end.
    #[error("line {0}: a quotation mark is not where RFC 4180 has one")]
    Quote(u64),
    /// A cell is too long.
    #[error("line {0}: a cell has more than {MAX_CELL} octets")]
    Long(u64),
}

/// Reads a table; empty lines are left out.
///
/// # Errors
/// [`CsvError`].
pub(crate) fn read(text: &str) -> Result<Vec<Row>, CsvError> {
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(text).chars().peekable();
    let (mut rows, mut line) = (Vec::new(), 1);
    while rest.peek().is_some() {
        let begins = line;
        let mut cells = Vec::new();
        loop {
            let mut cell = String::new();
            let quoted = rest.next_if_eq(&'"').is_some();
            if quoted {
                line += quoted_cell(&mut rest, &mut cell, begins)?;
            }
            while let Some(c) = rest.next_if(|c| !matches!(c, ',' | '\n' | '\r')) {
                if quoted || c == '"' {
                    return Err(CsvError::Quote(line));
                }
                cell.push(c);
                if cell.len() > MAX_CELL {
                    return Err(CsvError::Long(line));
                }
            }
            cells.push(bare(cell));
            if rest.next_if_eq(&',').is_none() {
                break;
            }
        }
        rest.next_if_eq(&'\r');
        line += u64::from(rest.next_if_eq(&'\n').is_some());
        if cells.iter().any(|cell| !cell.is_empty()) {
            rows.push(Row { line: begins, cells });
        }
    }
    Ok(rows)
}

/// Reads a cell up to the quotation mark that ends it; how many line ends are in it.
fn quoted_cell(rest: &mut Peekable<Chars<'_>>, cell: &mut String, begins: u64) -> Result<u64, CsvError> {
    let mut lines = 0;
    loop {
        match rest.next() {
            None => return Err(CsvError::Quote(begins)),
            // Two stand for one.
            Some('"') if rest.next_if_eq(&'"').is_none() => return Ok(lines),
            Some(c) => {
                lines += u64::from(c == '\n');
                cell.push(c);
            }
        }
        if cell.len() > MAX_CELL {
            return Err(CsvError::Long(begins));
        }
    }
}

/// Takes off the apostrophe that [`write`] put before a cell.
fn bare(cell: String) -> String {
    match cell.strip_prefix('\'') {
        Some(rest) if marked(rest) => rest.to_owned(),
        _ => cell,
    }
}

/// Whether a cell is written with an apostrophe before it.
fn marked(cell: &str) -> bool {
    cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\''])
}

/// Writes a line of a table, with its end.
pub(crate) fn write(cells: &[&str]) -> String {
    let cell = |text: &&str| {
        let mark = if marked(text) { "'" } else { "" };
        let quoted = text.contains([',', '"', '\r', '\n']) || text.starts_with(' ') || text.ends_with(' ');
        if quoted || !mark.is_empty() { format!("\"{mark}{}\"", text.replace('"', "\"\"")) } else { (*text).to_owned() }
    };
    cells.iter().map(cell).collect::<Vec<_>>().join(",") + "\r\n"
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Cells that have ever been trouble.
    const CELLS: [&str; 14] =
        ["", "a@x.test", "=cmd", "+a@x", "-a@x", "@x", "'", "''", "'=a@x", "\"a,b\"@x", " a ", "a\r\nb", "\t", "é"];

    fn cells(text: &str) -> Vec<Vec<String>> {
        read(text).unwrap().into_iter().map(|row| row.cells).collect()
    }

    #[test]
    fn what_is_written_is_read_again() {
        for case in CELLS.iter().flat_map(|a| CELLS.iter().map(move |b| [*a, *b])) {
            let text = write(&case);
            let rows = cells(&text);
            let wanted = if case == ["", ""] { vec![] } else { vec![case.to_vec()] };
            assert_eq!(rows, wanted, "{text:?}");
        }
    }

    #[test]
    fn no_cell_is_a_formula() {
        for text in ["=HYPERLINK(\"http://x\")", "+1", "-1", "@SUM(1)", "\t=1"] {
            let written = write(&[text]);
            assert!(written.starts_with("\"'"), "{written}");
        }
        assert_eq!(write(&["ann@x.test", "on"]), "ann@x.test,on\r\n");
    }

    #[test]
    fn tables_of_others_are_read() {
        let table = "\u{feff}address,role\r\n\r\nann@x.test,owner\n\"bob \"\"b\"\"@x\",\n'carl@x,member";
        let rows = read(table).unwrap();
        assert_eq!(rows.iter().map(|row| row.line).collect::<Vec<_>>(), [1, 3, 4, 5]);
        assert_eq!(rows[2].cells, ["bob \"b\"@x", ""]);
        assert_eq!(rows[3].cells[0], "'carl@x");
        let lines: Vec<u64> = read("\"a\nb\",c\nd").unwrap().iter().map(|row| row.line).collect();
        assert_eq!(lines, [1, 3]);
        for (wrong, line) in [("a\n\"b", 2), ("a\"b", 1), ("a\n\"b\"c\n", 2)] {
            assert_eq!(read(wrong), Err(CsvError::Quote(line)), "{wrong:?}");
        }
        assert_eq!(read(&"a".repeat(2000)), Err(CsvError::Long(1)));
    }
}
