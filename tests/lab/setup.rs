//! Bringing a lab up: sockets, services, members, list, key.

use crate::daemon::Daemon;
use crate::describe::{Lab, Member, Person, Three, write_wrappers};
use crate::keys::{MemberAlgorithm, POOL, member_key};
use anyhow::{Context as _, Result, ensure};
use openssl::pkey::{PKey, Private};
use openssl::x509::X509;
use serde_json::Value;
use std::fs;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use twinseal_proto::api::admin::certsrv::{
    AddAccounts, AddAccountsRequest, AddMembers, CreateGroup, CreateGroupRequest, JoinPolicy, MembersRequest,
    NewAccount,
};
use twinseal_proto::api::admin::groupsrv::{CreateKey, CreateKeyRequest};
use twinseal_proto::api::admin::{GetStatus, Nothing};
use twinseal_proto::api::keys::KeyAlgorithm;
use twinseal_proto::encoding::B64;
use twinseal_proto::feed::{ContentPolicy, DeliveryMode, History, ListSettings, PostLevel};
use twinseal_svc::admin;

/// What `twinseal-lab up` takes.
#[derive(Debug, Clone, clap::Args)]
pub struct UpArgs {
    /// Directory of the lab; made when missing, and must be empty
    #[arg(long)]
    pub dir: PathBuf,
    /// How many members
    #[arg(long, default_value_t = 3)]
    pub members: usize,
    /// The group's key pair
    #[arg(long, default_value = "rsa3072")]
    pub group_alg: GroupAlgorithm,
    /// The members' keys, dealt in turn
    #[arg(long, value_delimiter = ',', default_value = "rsa2048")]
    pub member_alg: Vec<MemberAlgorithm>,
    /// Delivery mode
    #[arg(long, default_value = "expand")]
    pub mode: Mode,
    /// Who may post
    #[arg(long, default_value = "from")]
    pub post: Post,
    /// Content encryption that the list takes
    #[arg(long, default_value = "cbc-allowed")]
    pub content: Content,
    /// certsrv sends mail of its own, through the same smarthost
    #[arg(long)]
    pub mail: bool,
    /// Messages that the sink keeps for each recipient; all when not given
    #[arg(long)]
    pub sink_keep: Option<u64>,
}

/// Kinds of group keys.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub enum GroupAlgorithm {
    /// RSA with 3072 bits.
    Rsa3072,
    /// NIST P-256.
    P256,
}

/// Delivery modes.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub enum Mode {
    /// One RecipientInfo a copy, the reader's.
    Expand,
}

/// Posting levels.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub enum Post {
    /// The From address is a member's.
    From,
    /// Authenticated submission.
    Submission,
}

/// Content policies.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub enum Content {
    /// AES-CBC and AES-GCM.
    CbcAllowed,
    /// AES-GCM only.
    AeadRequired,
}

/// A lab that is up. Its sockets and its short socket directory live as long as this.
pub struct Running {
    /// What `lab.json` says.
    pub lab: Lab,
    /// certsrv, groupsrv, exploder.
    pub daemons: [Daemon; 3],
    /// The smarthost's socket.
    pub smarthost: TcpListener,
    /// Unix sockets, under a path that is short enough for them.
    pub sockets: tempfile::TempDir,
}

/// Accounts and members that are made in one call.
const CHUNK: usize = 1000;
/// The list of every lab.
pub const LIST: &str = "team@lists.test";

struct Ports {
    certsrv: TcpListener,
    publish: TcpListener,
    groupsrv: TcpListener,
    metrics: TcpListener,
    smtp: TcpListener,
    http: TcpListener,
}

/// The sockets, configurations and daemons, nothing started yet.
///
/// # Errors
/// When the directory is not empty, or something cannot be made.
pub fn prepare(args: &UpArgs) -> Result<Running> {
    fs::create_dir_all(&args.dir)?;
    let dir = fs::canonicalize(&args.dir)?;
    ensure!(fs::read_dir(&dir)?.next().is_none(), "{} is not empty\ntry: a new directory", dir.display());
    let programs = std::env::current_exe()?.parent().context("no directory of programs")?.to_owned();
    let sockets = tempfile::Builder::new().prefix("twinseal-").tempdir()?;
    let bind = || TcpListener::bind("127.0.0.1:0");
    let ports =
        Ports { certsrv: bind()?, publish: bind()?, groupsrv: bind()?, metrics: bind()?, smtp: bind()?, http: bind()? };
    let smarthost = bind()?;
    let url = |listener: &TcpListener| listener.local_addr().map(|a| format!("https://{a}"));
    let (certsrv, groupsrv) = (url(&ports.certsrv)?, url(&ports.groupsrv)?);
    let smtp = ports.smtp.local_addr()?.to_string();
    let state = Three { exploder: dir.join("exploder"), groupsrv: dir.join("groupsrv"), certsrv: dir.join("certsrv") };
    let smarthost_address = smarthost.local_addr()?.to_string();
    let public = format!("http://{}", ports.publish.local_addr()?);
    configure(&dir, &state, (&certsrv, &public), &groupsrv, &smarthost_address)?;
    if args.mail {
        configure_mail(&dir, &certsrv, &smarthost_address)?;
    }
    let lab = Lab {
        list: LIST.into(),
        submission: smtp.clone(),
        smtp,
        lmtp: PathBuf::new(),
        certsrv,
        groupsrv,
        exploder_http: url(&ports.http)?,
        ocsp: format!("{public}/ocsp/members"),
        crl: format!("{public}/crl/members.crl"),
        web: String::new(),
        ca: dir.join("ca.pem"),
        group_cert: dir.join("group.pem"),
        group_certs: vec![dir.join("group.pem")],
        sink_dir: dir.join("sink"),
        bin: write_wrappers(&dir, &programs)?,
        state,
        pids: Three::default(),
        owner: Person {
            address: "owner@members.test".into(),
            password: Some(password(usize::MAX)),
            home: dir.join("owner"),
        },
        members: Vec::new(),
    };
    fs::create_dir_all(&lab.sink_dir)?;
    let daemons = daemons(&programs, &dir, sockets.path(), ports)?;
    Ok(Running { lab, daemons, smarthost, sockets })
}

fn daemons(programs: &Path, dir: &Path, sockets: &Path, ports: Ports) -> Result<[Daemon; 3]> {
    let make = |name: &'static str, tcp: Vec<(&'static str, OwnedFd)>| -> Result<Daemon> {
        let admin = sockets.join(format!("{name}.sock"));
        let listener = UnixListener::bind(&admin)?;
        fs::set_permissions(&admin, fs::Permissions::from_mode(0o600))?;
        let mut all = tcp;
        all.push(("admin", listener.into()));
        // The tools find the socket through the configuration.
        let config = dir.join(format!("{name}.toml"));
        let text = fs::read_to_string(&config)?;
        fs::write(&config, format!("admin_socket = {:?}\n{text}", admin.display().to_string()))?;
        Ok(Daemon::new(name, programs, dir, admin, all))
    };
    Ok([
        make("certsrv", vec![("https", ports.certsrv.into()), ("http", ports.publish.into())])?,
        make("groupsrv", vec![("https", ports.groupsrv.into()), ("metrics", ports.metrics.into())])?,
        make("exploder", vec![("smtp", ports.smtp.into()), ("http", ports.http.into())])?,
    ])
}

fn configure(
    dir: &Path,
    state: &Three<PathBuf>,
    (certsrv, public): (&str, &str),
    groupsrv: &str,
    smarthost: &str,
) -> Result<()> {
    let text = |path: &Path| path.display().to_string();
    fs::write(
        dir.join("certsrv.toml"),
        format!(
            "state = {:?}\nnames = [\"127.0.0.1\"]\npublic_url = {public:?}\nevaluation = true\n\
             password_memory_kib = 1024\n",
            text(&state.certsrv)
        ),
    )?;
    fs::write(
        dir.join("groupsrv.toml"),
        format!("state = {:?}\ncertsrv = {certsrv:?}\nevaluation = true\n", text(&state.groupsrv)),
    )?;
    fs::write(
        dir.join("exploder.toml"),
        format!(
            "state = {:?}\nhostname = \"lists.test\"\ncertsrv = {certsrv:?}\ngroupsrv = {groupsrv:?}\n\
             smarthost = {smarthost:?}\ntls = \"none\"\nretry_first_seconds = 1\nevaluation = true\n",
            text(&state.exploder)
        ),
    )?;
    Ok(())
}

/// Gives certsrv a way for its own mail.
fn configure_mail(dir: &Path, certsrv: &str, smarthost: &str) -> Result<()> {
    let path = dir.join("certsrv.toml");
    let table = format!(
        "\n[mail]\nsmarthost = {smarthost:?}\ntls = \"never\"\nfrom = \"noreply@lists.test\"\nurl = {certsrv:?}\n\
         registration_domains = [\"members.test\"]\n"
    );
    Ok(fs::write(&path, fs::read_to_string(&path)? + &table)?)
}

/// Initialises, joins and starts the services, makes accounts, list and key, and writes `lab.json`.
///
/// # Errors
/// Whatever failed first.
pub async fn bring_up(running: &mut Running, args: &UpArgs) -> Result<()> {
    let dir = fs::canonicalize(&args.dir)?;
    let [certsrv, groupsrv, exploder] = &mut running.daemons;
    let made: Value = serde_json::from_str(&certsrv.tool(&["--json", "init"])?)?;
    fs::copy(text(&made, "root")?, &running.lab.ca)?;
    certsrv.start(&[])?;
    certsrv.ready().await?;
    let groupsrv_pin = join(certsrv, groupsrv, &running.lab, &dir)?;
    let exploder_pin = join(certsrv, exploder, &running.lab, &dir)?;
    groupsrv.tool(&["pin", "set", "exploder", &exploder_pin])?;
    exploder.tool(&["pin", "set", "groupsrv", &groupsrv_pin])?;
    groupsrv.start(&[])?;
    exploder.start(&[])?;
    let (accounts, keys) = make_accounts(args, &running.lab, &dir)?;
    let mut certificates = Vec::new();
    for accounts in accounts.chunks(CHUNK) {
        let request = AddAccountsRequest { accounts: accounts.to_vec() };
        certificates.extend(admin::call::<AddAccounts>(&certsrv.admin, &request).await?.certificates);
    }
    running.lab.members = members(args, &dir);
    let issuers = issuers(&running.lab)?;
    for ((member, (pem, _)), der) in running.lab.members.iter().zip(&keys).zip(certificates.iter().skip(1)) {
        let der = der.as_ref().context("no certificate for a member's key")?;
        write_home(
            &running.lab,
            member,
            pem,
            &[&X509::from_der(der.as_ref())?.to_pem()?, issuers.as_slice()].concat(),
        )?;
    }
    let owner = &running.lab.owner;
    write_home_toml(&running.lab, &owner.home, &owner.address)?;
    let group = admin::call::<CreateGroup>(&certsrv.admin, &group_request(args)?).await?;
    for members in running.lab.members.chunks(CHUNK) {
        let addresses = members.iter().map(|m| m.address.parse()).collect::<Result<_, _>>()?;
        admin::call::<AddMembers>(&certsrv.admin, &MembersRequest { list: LIST.parse()?, addresses }).await?;
    }
    let sequence = admin::call::<GetStatus>(&certsrv.admin, &Nothing {}).await?.feed_sequence;
    caught_up(groupsrv, sequence).await?;
    let algorithm = match args.group_alg {
        GroupAlgorithm::Rsa3072 => KeyAlgorithm::Rsa3072,
        GroupAlgorithm::P256 => KeyAlgorithm::P256,
    };
    let key = admin::call::<CreateKey>(&groupsrv.admin, &CreateKeyRequest { group: group.group, algorithm }).await?;
    fs::write(&running.lab.group_cert, key.certificate)?;
    let sequence = admin::call::<GetStatus>(&certsrv.admin, &Nothing {}).await?.feed_sequence;
    caught_up(groupsrv, sequence).await?;
    caught_up(exploder, sequence).await?;
    takes_mail(&running.lab).await?;
    running.lab.pids = Three { exploder: exploder.pid(), groupsrv: groupsrv.pid(), certsrv: certsrv.pid() };
    running.lab.write(&dir)
}

fn text<'a>(value: &'a Value, key: &str) -> Result<&'a str> {
    value.get(key).and_then(Value::as_str).with_context(|| format!("no {key} in {value}"))
}

/// Makes `service` join certsrv and gives its pin.
fn join(certsrv: &Daemon, service: &Daemon, lab: &Lab, dir: &Path) -> Result<String> {
    let token = dir.join(format!("{}.token", service.name));
    let token_file = token.display().to_string();
    let issued: Value =
        serde_json::from_str(&certsrv.tool(&["--json", "service", "token", service.name, "--out", &token_file])?)?;
    let root = lab.ca.display().to_string();
    let joined: Value = serde_json::from_str(&service.tool(&[
        "--json",
        "join",
        "--certsrv",
        &lab.certsrv,
        "--pin",
        text(&issued, "certsrv_pin")?,
        "--root",
        &root,
        "--token-file",
        &token_file,
        "--name",
        "127.0.0.1",
    ])?)?;
    fs::remove_file(token)?;
    Ok(text(&joined, "pin")?.to_owned())
}

fn password(index: usize) -> String {
    if index == usize::MAX { "owner-of-the-lab".into() } else { format!("member-{}-of-the-lab", index + 1) }
}

/// A member's key, before there is a certificate.
type Keyed = (&'static str, PKey<Private>);

fn make_accounts(args: &UpArgs, lab: &Lab, dir: &Path) -> Result<(Vec<NewAccount>, Vec<Keyed>)> {
    let owner =
        NewAccount { address: lab.owner.address.parse()?, password: lab.owner.password.clone(), public_key: None };
    let (mut accounts, mut keys) = (vec![owner], Vec::new());
    for (index, member) in members(args, dir).into_iter().enumerate() {
        let algorithm = args.member_alg.get(index % args.member_alg.len()).context("no member algorithm")?;
        let (pem, key) = member_key(*algorithm, index / args.member_alg.len())?;
        accounts.push(NewAccount {
            address: member.address.parse()?,
            password: member.password,
            public_key: Some(B64(key.public_key_to_der()?)),
        });
        keys.push((pem, key));
    }
    Ok((accounts, keys))
}

fn members(args: &UpArgs, dir: &Path) -> Vec<Member> {
    (0..args.members)
        .map(|index| {
            let home = dir.join("members").join(format!("m{}", index + 1));
            Member {
                address: format!("m{}@members.test", index + 1),
                password: (index < POOL).then(|| password(index)),
                cert: home.join("cert.pem"),
                key: home.join("key.pem"),
                home,
            }
        })
        .collect()
}

/// The PEM of the members' sub-CA: what a member's certificate file holds after the certificate.
fn issuers(lab: &Lab) -> Result<Vec<u8>> {
    Ok(fs::read(lab.state.certsrv.join("ca/members.pem"))?)
}

fn write_home(lab: &Lab, member: &Member, key: &str, chain: &[u8]) -> Result<()> {
    write_home_toml(lab, &member.home, &member.address)?;
    fs::write(&member.cert, chain)?;
    fs::write(&member.key, key)?;
    Ok(fs::set_permissions(&member.key, fs::Permissions::from_mode(0o600))?)
}

fn write_home_toml(lab: &Lab, home: &Path, address: &str) -> Result<()> {
    fs::create_dir_all(home)?;
    fs::set_permissions(home, fs::Permissions::from_mode(0o700))?;
    fs::copy(&lab.ca, home.join("root.pem"))?;
    let text = format!(
        "address = {address:?}\ncertsrv = {:?}\n\n[submission]\nserver = {:?}\ntls = \"none\"\n",
        lab.certsrv, lab.submission
    );
    Ok(fs::write(home.join("home.toml"), text)?)
}

fn group_request(args: &UpArgs) -> Result<CreateGroupRequest> {
    let Mode::Expand = args.mode;
    Ok(CreateGroupRequest {
        list: LIST.parse()?,
        owner: "owner@members.test".parse()?,
        mode: DeliveryMode::Expand,
        history: History::SinceJoin,
        join: JoinPolicy::Open,
        signed: false,
        settings: ListSettings {
            post: match args.post {
                Post::From => PostLevel::From,
                Post::Submission => PostLevel::Submission,
            },
            content: match args.content {
                Content::CbcAllowed => ContentPolicy::CbcAllowed,
                Content::AeadRequired => ContentPolicy::AeadRequired,
            },
            max_size: 64 * 1024 * 1024,
            description: "The team".into(),
            ..ListSettings::default()
        },
    })
}

async fn caught_up(daemon: &mut Daemon, sequence: u64) -> Result<()> {
    let until = Instant::now() + Duration::from_secs(120);
    while daemon.ready().await?.feed_sequence < sequence {
        ensure!(Instant::now() < until, "{} does not catch up with the feed", daemon.name);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// Waits until the exploder takes a recipient at all: it has the roster and the group's keys.
async fn takes_mail(lab: &Lab) -> Result<()> {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let mut stream = tokio::net::TcpStream::connect(&lab.smtp).await?;
        let mut reply = vec![0; 4096];
        let mut last = String::new();
        for line in ["", "EHLO lab.test\r\n", "MAIL FROM:<m1@members.test>\r\n", "RCPT TO:<team@lists.test>\r\n"] {
            stream.write_all(line.as_bytes()).await?;
            let count = stream.read(&mut reply).await?;
            last = String::from_utf8_lossy(reply.get(..count).unwrap_or_default()).into_owned();
        }
        if !last.starts_with("45") {
            return Ok(());
        }
        ensure!(Instant::now() < until, "the exploder takes no mail: {last}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
