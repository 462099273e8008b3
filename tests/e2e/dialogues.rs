//! Plays every file below `tests/dialogs` against the exploder: a bug report becomes a test by pasting a dialogue.
//!
//! `c: LINE` sends a line; `raw: TEXT` sends octets with `\r`, `\n` and `\0` written so; `s: PREFIX` reads one reply, whose last line
//! (with its dash, if any, as a space) must begin so; `has: TEXT` wants TEXT in the reply before; `closed` wants the end.

use crate::support::Up;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

#[test]
fn every_dialogue_goes_as_it_is_written() {
    let up = Up::new(&["--members", "1"]);
    let mut files: Vec<_> = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("dialogs"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "smtp"))
        .collect();
    files.sort();
    let failed: Vec<String> = files.iter().filter_map(|file| play(&up.lab.smtp, file).err()).collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert!(files.len() > 10, "the dialogues are missing");
    up.drained();
    assert_eq!(up.sink().delivered, 0, "no dialogue delivers anything");
    println!("{} dialogues", files.len());
}

fn play(server: &str, file: &Path) -> Result<(), String> {
    let script = std::fs::read_to_string(file).unwrap();
    let stream = TcpStream::connect(server).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut stream = BufReader::new(stream);
    let mut reply = String::new();
    for (number, line) in script.lines().enumerate().filter(|(_, l)| !l.is_empty() && !l.starts_with('#')) {
        let (verb, rest) = line.split_once(": ").unwrap_or((line, ""));
        let wrong = |got: &str| Err(format!("{}:{}: {line}: got {got:?}", file.display(), number + 1));
        match verb {
            "c" => stream.get_mut().write_all(format!("{rest}\r\n").as_bytes()).map_err(|e| e.to_string())?,
            "raw" => {
                let octets = rest.replace("\\r", "\r").replace("\\n", "\n").replace("\\0", "\0");
                stream.get_mut().write_all(octets.as_bytes()).map_err(|e| e.to_string())?;
            }
            "s" => {
                reply.clear();
                let last = loop {
                    let start = reply.len();
                    match stream.read_line(&mut reply) {
                        Ok(0) | Err(_) => return wrong(&reply),
                        Ok(_) if reply.as_bytes().get(start + 3) == Some(&b'-') => {}
                        Ok(_) => break &reply[start..],
                    }
                };
                if !last.starts_with(rest) {
                    return wrong(&reply);
                }
            }
            "has" if !reply.contains(rest) => return wrong(&reply),
            "has" => {}
            "closed" => {
                let mut left = String::new();
                if stream.read_to_string(&mut left).is_err() || !left.is_empty() {
                    return wrong(&left);
                }
            }
            _ => return wrong("no such verb"),
        }
    }
    Ok(())
}
