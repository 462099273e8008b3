//! `twinseal-lab`: a whole Twinseal on loopback, until SIGTERM.

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};
use serde_json::{Value, json};
use std::os::unix::net::UnixListener as StdUnixListener;
use std::path::{Path, PathBuf};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use twinseal_tests::control::{Answer, Ask, ask};
use twinseal_tests::setup::{Running, UpArgs, bring_up, prepare};
use twinseal_tests::sink::{Behaviour, Sink};

#[derive(Parser)]
#[command(name = "twinseal-lab", version, about = "Three daemons, members and a recording smarthost on loopback")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Brings a lab up, writes DIR/lab.json when it is ready, and stays until SIGTERM
    Up(UpArgs),
    /// Restarts a daemon of a running lab; returns when it is ready
    Restart {
        /// Directory of the lab
        #[arg(long)]
        dir: PathBuf,
        /// certsrv, groupsrv or exploder
        name: String,
        /// NAME=VALUE for its environment
        #[arg(long = "env")]
        environment: Vec<String>,
    },
    /// Stops a daemon of a running lab and leaves it down
    Stop {
        /// Directory of the lab
        #[arg(long)]
        dir: PathBuf,
        /// certsrv, groupsrv or exploder
        name: String,
    },
    /// Sets the smarthost's behaviour, or prints what it got
    Sink {
        /// Directory of the lab
        #[arg(long)]
        dir: PathBuf,
        /// The behaviour from now on; none prints the figures
        behaviour: Option<Behaviour>,
    },
}

fn main() -> Result<()> {
    match Cli::parse().command {
        Command::Up(args) => up(&args),
        Command::Restart { dir, name, environment } => {
            let environment = environment
                .iter()
                .map(|pair| {
                    pair.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned())).context("NAME=VALUE is wanted")
                })
                .collect::<Result<_>>()?;
            print(&ask(&dir, &Ask::Restart { name, environment })?)
        }
        Command::Stop { dir, name } => print(&ask(&dir, &Ask::Stop { name })?),
        Command::Sink { dir, behaviour: Some(behaviour) } => print(&ask(&dir, &Ask::Sink { behaviour })?),
        Command::Sink { dir, behaviour: None } => print(&ask(&dir, &Ask::SinkStats)?),
    }
}

fn print(value: &Value) -> Result<()> {
    if !value.is_null() {
        println!("{}", serde_json::to_string_pretty(value)?);
    }
    Ok(())
}

fn up(args: &UpArgs) -> Result<()> {
    // One thread for everything: the daemons' lives are tied to the thread that starts them.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        let mut stop = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let mut running = prepare(args)?;
        let sink = Sink::new(running.lab.sink_dir.clone(), args.sink_keep);
        running.smarthost.set_nonblocking(true)?;
        let smarthost = TcpListener::from_std(running.smarthost.try_clone()?)?;
        tokio::task::spawn_local(std::rc::Rc::clone(&sink).run(smarthost));
        let dir = std::fs::canonicalize(&args.dir)?;
        let control = control_socket(&running, &dir)?;
        let up = tokio::select! {
            up = bring_up(&mut running, args) => Some(up),
            _ = stop.0.recv() => None,
            _ = stop.1.recv() => None,
        };
        if let Some(Ok(())) = up {
            println!("ready: {}", dir.join("lab.json").display());
            loop {
                tokio::select! {
                    accepted = control.accept() => {
                        if let Ok((stream, _)) = accepted
                            && let Err(error) = serve(stream, &mut running, &sink, &dir).await
                        {
                            eprintln!("control: {error:#}");
                        }
                    }
                    _ = stop.0.recv() => break,
                    _ = stop.1.recv() => break,
                }
            }
        }
        for daemon in running.daemons.iter_mut().rev() {
            daemon.stop().await?;
        }
        up.unwrap_or(Ok(()))
    })
}

/// The control socket lies in the short directory; `DIR/control.sock` leads there.
fn control_socket(running: &Running, dir: &Path) -> Result<UnixListener> {
    let path = running.sockets.path().join("control.sock");
    let listener = StdUnixListener::bind(&path)?;
    listener.set_nonblocking(true)?;
    std::os::unix::fs::symlink(&path, dir.join("control.sock"))?;
    Ok(UnixListener::from_std(listener)?)
}

async fn serve(stream: UnixStream, running: &mut Running, sink: &Sink, dir: &Path) -> Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    let done = match serde_json::from_str(&line) {
        Ok(ask) => act(ask, running, sink, dir).await,
        Err(error) => Err(error.into()),
    };
    let answer = match done {
        Ok(value) => Answer::Done(value),
        Err(error) => Answer::Failed(format!("{error:#}")),
    };
    stream.get_mut().write_all(format!("{}\n", serde_json::to_string(&answer)?).as_bytes()).await?;
    Ok(())
}

async fn act(ask: Ask, running: &mut Running, sink: &Sink, dir: &Path) -> Result<Value> {
    match ask {
        Ask::Restart { name, environment } => {
            let daemon =
                running.daemons.iter_mut().find(|d| d.name == name).with_context(|| format!("no daemon {name}"))?;
            daemon.stop().await?;
            daemon.start(&environment)?;
            let ready = daemon.ready().await;
            let pid = daemon.pid();
            match name.as_str() {
                "certsrv" => running.lab.pids.certsrv = pid,
                "groupsrv" => running.lab.pids.groupsrv = pid,
                _ => running.lab.pids.exploder = pid,
            }
            running.lab.write(dir)?;
            ready.map(|_| Value::Null)
        }
        Ask::Stop { name } => {
            let daemon =
                running.daemons.iter_mut().find(|d| d.name == name).with_context(|| format!("no daemon {name}"))?;
            daemon.stop().await.map(|()| Value::Null)
        }
        Ask::Sink { behaviour } => {
            sink.behave(behaviour);
            Ok(Value::Null)
        }
        Ask::SinkStats => Ok(json!(sink.stats())),
    }
}
