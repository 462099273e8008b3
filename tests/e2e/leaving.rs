//! Leaving is at once (L13): from the answer on, the next expansion refuses who left, whatever the exploder asks for, and
//! the next message goes to everybody else. With a thousand members, and with groupsrv restarted in between.

use crate::support::{Up, cms_of, encrypt};
use openssl::x509::X509;
use std::collections::HashMap;
use std::io::Cursor;
use std::time::{Duration, Instant};
use twinseal_proto::api::expand::{Denied, Expand, ExpandRequest, Wrapped};
use twinseal_proto::api::tickets::{Register, RegisterRequest};
use twinseal_proto::cms::frame::{Limits, scan};
use twinseal_proto::encoding::B64;
use twinseal_proto::ids::{GroupId, Handle};
use twinseal_svc::client::{CallError, Client};
use twinseal_svc::pins::Pins;
use twinseal_svc::tls::Identity;

const MEMBERS: usize = 1000;
const PATIENCE: Duration = Duration::from_secs(20);
const AT_ONCE: Duration = Duration::from_secs(1);

/// Somebody with the exploder's key who asks groupsrv for everybody, again and again.
struct Asker {
    client: Client,
    request: ExpandRequest,
    people: HashMap<Handle, String>,
}

impl Asker {
    fn new(up: &Up) -> Self {
        let groups: serde_json::Value = serde_json::from_str(&up.run("certsrv", &["--json", "group", "list"])).unwrap();
        let group: GroupId = groups[0]["group"].as_str().unwrap().parse().unwrap();
        let listed = up.run("certsrv", &["--json", "member", "list", &up.lab.list]);
        let listed: Vec<serde_json::Value> = serde_json::from_str(&listed).unwrap();
        let people: HashMap<Handle, String> = listed
            .iter()
            .filter(|member| member["state"] == "active")
            .map(|member| {
                (member["handle"].as_str().unwrap().parse().unwrap(), member["address"].as_str().unwrap().to_owned())
            })
            .collect();
        let mail = encrypt(&up.lab, &up.lab.members[0].address, "for everybody", &["-aes256"]);
        let frame = scan(Cursor::new(cms_of(&mail)), &Limits::default()).unwrap();
        let root = X509::from_pem(&std::fs::read(&up.lab.ca).unwrap()).unwrap();
        let identity = Identity::load(&up.lab.state.exploder.join("tls")).unwrap();
        let pin = Pins::load(&up.lab.state.exploder).unwrap().groupsrv.unwrap();
        let request = ExpandRequest {
            group,
            recipient_info: B64(frame.recipient_infos[0].clone()),
            content_algorithm: frame.content_algorithm,
            handles: people.keys().copied().take(Expand::MAX_HANDLES).collect(),
        };
        Self { client: Client::pinned(&up.lab.groupsrv, &root, pin, Some(&identity)).unwrap(), request, people }
    }

    async fn register(&self) {
        let request = RegisterRequest {
            group: self.request.group,
            recipient_info: self.request.recipient_info.clone(),
            content_algorithm: self.request.content_algorithm.clone(),
        };
        self.client.call::<Register>(&request, PATIENCE).await.unwrap();
    }

    /// Who is refused now; `Err` while groupsrv does not answer.
    async fn refused(&self) -> Result<Vec<&str>, CallError> {
        let answer = self.client.call::<Expand>(&self.request, PATIENCE).await?;
        assert_eq!(answer.wraps.len(), self.request.handles.len());
        let asked = self.request.handles.iter().zip(&answer.wraps);
        Ok(asked
            .filter_map(|(handle, wrap)| match wrap {
                Wrapped::RecipientInfo(_) => None,
                Wrapped::Denied(Denied::NotAMember) => Some(self.people[handle].as_str()),
                Wrapped::Denied(other) => panic!("{}: {other:?}", self.people[handle]),
            })
            .collect())
    }

    /// The time until exactly `wanted` are refused; nobody else may be refused meanwhile.
    async fn until_refused(&self, wanted: &[&str]) -> Duration {
        let start = Instant::now();
        loop {
            // groupsrv may be starting: it answers nothing then.
            if let Ok(mut refused) = self.refused().await {
                refused.sort_unstable();
                if refused == wanted {
                    return start.elapsed();
                }
                assert!(refused.iter().all(|who| wanted.contains(who)), "refused: {refused:?}");
            }
            assert!(start.elapsed() < PATIENCE, "{wanted:?} are still served");
        }
    }
}

#[tokio::test]
async fn who_left_is_refused_within_a_second_among_a_thousand() {
    let mut up = Up::new(&["--members", &MEMBERS.to_string(), "--sink-keep", "2"]);
    let asker = Asker::new(&up);
    asker.register().await;
    assert!(asker.refused().await.unwrap().is_empty());
    let served: Vec<String> = asker.request.handles.iter().map(|handle| asker.people[handle].clone()).collect();
    let leaver = up.lab.members.iter().find(|m| m.password.is_some() && served.contains(&m.address)).unwrap().clone();

    let left = up.twinseal(&leaver, &["leave", &up.lab.list], b"");
    assert!(left.status.success(), "{}", String::from_utf8_lossy(&left.stderr));
    let took = asker.until_refused(&[&leaver.address]).await;
    assert!(took < AT_ONCE, "refused after {took:?}");

    // While groupsrv is away another one is taken out: it does not come back with who was there when it went.
    let removed = up.lab.members.iter().find(|m| served.contains(&m.address) && m.address != leaver.address).unwrap();
    let removed = removed.address.clone();
    up.stop("groupsrv");
    up.run("certsrv", &["member", "remove", &up.lab.list, &removed]);
    up.restart("groupsrv");
    let mut gone = [leaver.address.as_str(), removed.as_str()];
    gone.sort_unstable();
    let took = asker.until_refused(&gone).await;
    assert!(took < AT_ONCE, "refused {took:?} after groupsrv was ready");

    let sender = up.lab.members.iter().find(|m| !gone.contains(&m.address.as_str())).unwrap().address.clone();
    let before = up.sink().delivered;
    assert!(up.post(&sender, &encrypt(&up.lab, &sender, "who is left", &["-aes256"])).starts_with("250"));
    up.wait_copies(&sender, 1);
    up.drained();
    assert_eq!(up.sink().delivered - before, MEMBERS as u64 - 2);
    for who in gone {
        assert!(up.copies(who).is_empty(), "{who} got a copy");
    }
}
