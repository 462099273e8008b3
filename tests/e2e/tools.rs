//! The daemons' command lines, as scripts meet them: exit codes, JSON errors, `doctor` on a system that worked.

use crate::support::Up;
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

/// The one JSON object on standard error.
fn error(output: &Output) -> Value {
    serde_json::from_slice(&output.stderr)
        .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&output.stderr)))
}

#[test]
fn exit_codes_and_json_errors_are_the_same_for_all_three_and_doctor_finds_a_lab_whole() {
    let up = Up::new(&["--members", "3", "--member-alg", "p256", "--group-alg", "p256"]);

    let doctor = up.bin("certsrv", &["--json", "doctor"]);
    assert_eq!(code(&doctor), Some(0), "{}", String::from_utf8_lossy(&doctor.stdout));
    let report: Value = serde_json::from_slice(&doctor.stdout).unwrap();
    assert_eq!(report["findings"], Value::Array(Vec::new()));
    assert!(report["certificates"].as_u64().unwrap() >= 5, "{report}");

    let refused = up.bin("certsrv", &["--json", "member", "add", "none@lists.test", "m1@members.test"]);
    assert_eq!(code(&refused), Some(1));
    assert!(error(&refused)["error"].as_str().unwrap().len() > 5);
    for tool in ["certsrv", "groupsrv", "exploder"] {
        assert_eq!(code(&up.bin(tool, &["nonsense"])), Some(2), "{tool}");
    }

    // Nobody behind the socket, and no socket.
    for tool in ["certsrv", "groupsrv", "exploder"] {
        let config = up.dir.join(format!("{tool}.toml"));
        let text = std::fs::read_to_string(&config).unwrap();
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("admin_socket")).collect();
        let other = up.dir.join(format!("{tool}-away.toml"));
        std::fs::write(&other, format!("admin_socket = \"{}/away.sock\"\n{}", up.dir.display(), lines.join("\n")))
            .unwrap();
        let program = Path::new(env!("CARGO_BIN_EXE_twinseal-lab")).with_file_name(format!("twinseal-{tool}"));
        let run =
            |arguments: &[&str]| Command::new(&program).arg("--config").arg(&other).args(arguments).output().unwrap();
        let away = run(&["--json", "status"]);
        assert_eq!(code(&away), Some(69), "{tool}: {}", String::from_utf8_lossy(&away.stderr));
        assert!(error(&away)["try"].as_str().unwrap().contains("is the service running"), "{tool}");
        let plain = run(&["status"]);
        assert!(String::from_utf8_lossy(&plain.stderr).contains("\ntry: is the service running"), "{tool}");
    }

    up.stop("certsrv");
    let state = up.lab.state.certsrv.join("ca/members.pem");
    let clean = up.bin("certsrv", &["doctor", "--offline"]);
    assert_eq!(code(&clean), Some(0), "{}", String::from_utf8_lossy(&clean.stdout));
    let whole = std::fs::read(&state).unwrap();
    std::fs::copy(up.lab.state.certsrv.join("ca/services.pem"), &state).unwrap();
    let found = up.bin("certsrv", &["doctor", "--offline"]);
    assert_eq!(code(&found), Some(1));
    assert!(String::from_utf8_lossy(&found.stdout).contains("the key is not the certificate's"));
    std::fs::write(&state, whole).unwrap();
}
