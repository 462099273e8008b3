#![allow(clippy::unwrap_used, clippy::panic)]
use super::*;
use crate::cert::ca::Ca;
use crate::cert::profile::{AltName, Profile};
use crate::cert::serial::Serial;
use crate::tests::{address, ec_key, now, signer};
use openssl::ssl::{Ssl, SslAcceptor};
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use twinseal_svc::durable;

/// What a smarthost does when it is asked for TLS.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Manner {
    /// As it should.
    Tls,
    /// It does not offer it.
    NoTls,
    /// Somebody on the way puts replies behind that to STARTTLS.
    Injected,
    /// Its greeting does not end.
    Endless,
}

/// A smarthost; everything that it hears, and whether that came under TLS.
struct Peer {
    port: u16,
    heard: Arc<Mutex<Vec<(bool, String)>>>,
}

async fn peer(acceptor: SslAcceptor, manner: Manner) -> Peer {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (port, heard) = (listener.local_addr().unwrap().port(), Arc::new(Mutex::new(Vec::new())));
    let log = Arc::clone(&heard);
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let _ = serve(tcp, &acceptor, manner, &log).await;
        }
    });
    Peer { port, heard }
}

type Heard = Mutex<Vec<(bool, String)>>;

async fn serve(mut tcp: TcpStream, acceptor: &SslAcceptor, manner: Manner, heard: &Heard) -> io::Result<()> {
    if manner == Manner::Endless {
        loop {
            tcp.write_all(b"220-and on and on\r\n").await?;
        }
    }
    tcp.write_all(b"220 smarthost.test\r\n").await?;
    loop {
        let line = line(&mut tcp).await?;
        heard.lock().unwrap().push((false, line.clone()));
        match (line.as_str(), manner) {
            ("STARTTLS", Manner::NoTls) => tcp.write_all(b"502 5.5.1 no\r\n").await?,
            ("STARTTLS", Manner::Injected) => {
                tcp.write_all(b"220 go\r\n250 injected\r\n").await?;
                break;
            }
            ("STARTTLS", _) => {
                tcp.write_all(b"220 go\r\n").await?;
                break;
            }
            _ => tcp.write_all(b"250-smarthost.test\r\n250 STARTTLS\r\n").await?,
        }
    }
    let mut tls = SslStream::new(Ssl::new(acceptor.context()).unwrap(), tcp).unwrap();
    Pin::new(&mut tls).accept().await.map_err(io::Error::other)?;
    loop {
        let line = line(&mut tls).await?;
        let reply: &[u8] = match line.split(' ').next().unwrap() {
            "EHLO" => b"250-smarthost.test\r\n250 AUTH PLAIN\r\n",
            "AUTH" => b"235 2.7.0 ok\r\n",
            "DATA" => b"354 go on\r\n",
            "." => b"250 2.0.0 kept\r\n",
            "MAIL" | "RCPT" => b"250 2.1.0 ok\r\n",
            _ => b"",
        };
        heard.lock().unwrap().push((true, line));
        tls.write_all(reply).await?;
    }
}

async fn line(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<String> {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        line.push(stream.read_u8().await?);
    }
    Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
}

/// A server's TLS for 127.0.0.1, and the file with its root.
fn tls(dir: &tempfile::TempDir) -> (SslAcceptor, std::path::PathBuf) {
    let root = Ca::root(signer(ec_key()), &Profile::root("Test"), Serial::from_random([1; 16]), now(), 3650).unwrap();
    let key = ec_key();
    let profile = Profile::service("smarthost", vec![AltName::Ip("127.0.0.1".parse().unwrap())]);
    let spki = key.public_key_to_der().unwrap();
    let prepared = root.prepare(&profile, &spki, Serial::from_random([2; 16]), now(), 30).unwrap();
    let certificate = openssl::x509::X509::from_der(&root.issue(prepared).unwrap()).unwrap();
    let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).unwrap();
    builder.set_private_key(&key).unwrap();
    builder.set_certificate(&certificate).unwrap();
    let path = dir.path().join("root.pem");
    std::fs::write(&path, root.certificate().to_pem().unwrap()).unwrap();
    (builder.build(), path)
}

fn mail(port: u16, ca: std::path::PathBuf, password_file: std::path::PathBuf) -> Mail {
    let text = format!(
        "smarthost = \"127.0.0.1:{port}\"\nfrom = \"noreply@lists.test\"\nurl = \"https://c.test\"\nuser = \"me\"\n\
         ca = {ca:?}\npassword_file = {password_file:?}\n"
    );
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("certsrv.toml");
    std::fs::write(&path, format!("[mail]\n{text}")).unwrap();
    crate::config::Config::load(&path).unwrap().mail.unwrap()
}

#[tokio::test]
async fn the_password_and_the_mail_go_under_tls_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (acceptor, ca) = tls(&dir);
    let password = dir.path().join("password");
    durable::replace(&password, b"sesame\n").unwrap();
    let good = peer(acceptor.clone(), Manner::Tls).await;
    let smarthost = Smarthost::new(&mail(good.port, ca.clone(), password.clone())).unwrap();
    let mut connection = smarthost.connect().await.unwrap();
    let message = b"Subject: x\r\n\r\none\r\n.two\r\n";
    for _ in 0..2 {
        assert_eq!(connection.send(&address("ann"), message).await.unwrap(), Outcome::Taken);
    }
    let heard = good.heard.lock().unwrap().clone();
    let clear: Vec<&str> = heard.iter().filter(|(tls, _)| !tls).map(|(_, line)| line.as_str()).collect();
    assert_eq!(clear, ["EHLO lists.test", "STARTTLS"]);
    let under: Vec<&str> = heard.iter().filter(|(tls, _)| *tls).map(|(_, line)| line.as_str()).collect();
    let mail = ["MAIL FROM:<>", "RCPT TO:<ann@members.test>", "DATA", "Subject: x", "", "one", "..two", "."];
    assert_eq!(under[..2], ["EHLO lists.test", "AUTH PLAIN AG1lAHNlc2FtZQ=="]);
    assert_eq!(under[2..], [mail, mail].concat());
}

#[tokio::test]
async fn a_smarthost_that_cannot_be_trusted_is_told_nothing() {
    let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let ((acceptor, ca), (_, other_ca)) = (tls(&dir), tls(&elsewhere));
    let password = dir.path().join("password");
    durable::replace(&password, b"sesame\n").unwrap();
    for (manner, ca, wanted) in [
        (Manner::NoTls, &ca, "answers 502"),
        (Manner::Injected, &ca, "TLS"),
        (Manner::Tls, &other_ca, "TLS"),
        (Manner::Endless, &ca, "connection lost"),
    ] {
        let peer = peer(acceptor.clone(), manner).await;
        let smarthost = Smarthost::new(&mail(peer.port, ca.clone(), password.clone())).unwrap();
        let error = smarthost.connect().await.err().unwrap_or_else(|| panic!("{manner:?}"));
        assert!(error.to_string().contains(wanted), "{manner:?}: {error}");
        let heard = peer.heard.lock().unwrap().clone();
        assert!(
            heard.iter().all(|(tls, line)| !tls && ["EHLO lists.test", "STARTTLS"].contains(&line.as_str())),
            "{heard:?}"
        );
    }
    std::fs::set_permissions(&password, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    assert!(Smarthost::new(&mail(25, ca, password)).is_err(), "others may read the password");
}
