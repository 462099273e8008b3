//! A member logs in through a real identity provider and enrols with the session that comes of it.

use crate::support::{Up, pipe};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const ENTITY: &str = "https://certsrv.test/saml";

/// SimpleSAMLphp, until this is dropped.
struct IdentityProvider {
    process: Child,
    port: u16,
}

impl IdentityProvider {
    fn start(dir: &Path, acs: &str) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let log = std::fs::File::create(dir.join("php.log")).unwrap();
        let process = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", concat!(env!("CARGO_MANIFEST_DIR"), "/clients/saml-idp.sh")])
            .arg(dir.join("idp"))
            .args([&port.to_string(), ENTITY, acs])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { process, port }
    }

    /// Its metadata, as soon as it answers.
    fn metadata(&mut self) -> String {
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            if let Ok(text) = self.get("/saml2/idp/metadata.php")
                && let Some(start) = text.find("<md:EntityDescriptor")
            {
                return text[start..].to_owned();
            }
            assert!(self.process.try_wait().unwrap().is_none(), "the identity provider ended");
            assert!(Instant::now() < until, "the identity provider does not answer");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn get(&self, path: &str) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: 127.0.0.1:{}\r\n\r\n", self.port)?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    }
}

impl Drop for IdentityProvider {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_member_logs_in_at_simplesamlphp_and_enrols() {
    let installed = Path::new("/usr/share/simplesamlphp").exists() && Command::new("php").arg("-v").output().is_ok();
    if !installed {
        assert!(std::env::var_os("CI").is_none(), "SimpleSAMLphp is not installed");
        println!("SKIPPED: SimpleSAMLphp is not installed");
        return;
    }
    let mut up = Up::new(&["--members", "1"]);
    let dir = tempfile::tempdir().unwrap();
    let mut idp = IdentityProvider::start(dir.path(), &format!("{}/saml/acs", up.lab.certsrv));
    let metadata = dir.path().join("idp.xml");
    std::fs::write(&metadata, idp.metadata()).unwrap();
    let config = up.dir.join("certsrv.toml");
    let plain = std::fs::read_to_string(&config).unwrap();
    let table = format!(
        "{plain}\n[saml]\nidp_metadata = {:?}\nentity_id = {ENTITY:?}\nbase_url = {:?}\nmail_attribute = \"mail\"\n\
         mail_domains = [\"example.test\"]\n",
        metadata.display().to_string(),
        up.lab.certsrv
    );
    std::fs::write(&config, &table).unwrap();
    up.run("certsrv", &["check-config"]);
    up.restart("certsrv");
    up.run("certsrv", &["account", "add", "alice@example.test"]);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/clients/saml.py");
    let done = pipe(Command::new("python3").arg(script).arg(&up.dir), b"");
    let said = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    let log = std::fs::read_to_string(dir.path().join("php.log")).unwrap_or_default();
    assert!(done.status.success(), "{said}\n--- identity provider\n{log}");
    println!("{said}");

    // Metadata without a key would let anybody in: certsrv says so and does not start.
    let keyless = std::fs::read_to_string(&metadata).unwrap().replace("use=\"signing\"", "use=\"encryption\"");
    std::fs::write(&metadata, keyless).unwrap();
    let checked = up.bin("certsrv", &["check-config"]);
    let why = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert!(!checked.status.success() && why.contains("no signing certificate"), "{why}");
}
