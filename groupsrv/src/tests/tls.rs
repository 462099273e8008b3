//! Over the wire: who gets in, and what is published.

use super::support::World;
use crate::service::routes;
use std::sync::Arc;
use std::time::Duration;
use twinseal_proto::api::keys::{Certs, CertsRequest, EpochState, KeyAlgorithm};
use twinseal_proto::feed::{GroupsrvChange, History};
use twinseal_svc::client::{CallError, Client};
use twinseal_svc::http::serve_tls;
use twinseal_svc::pins::Peer;
use twinseal_svc::tls::{Clients, acceptor};

#[tokio::test]
async fn pinned_exploders_get_in_and_hear_of_new_keys_at_once() {
    let world = World::new().await;
    let group = world.group(1, History::All).await;
    let (friend, stranger) = (world.authority.identity("exploder-2"), world.authority.identity("certsrv"));
    let pin = friend.pin().unwrap();
    world.service.pins.write().unwrap().set(Peer::Exploder, pin);
    let service = Arc::clone(&world.service);
    let clients = Clients::Pinned(Arc::new(move |pin| service.pins.read().unwrap().exploders.contains(pin)));
    let acceptor = acceptor(&world.identity, clients).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("https://{}", listener.local_addr().unwrap());
    let stop = world.service.stop.clone();
    tokio::spawn(serve_tls(listener, acceptor, routes(Arc::clone(&world.service)), stop));
    let client = |who| Client::pinned(&base, &world.authority.root, world.identity.pin().unwrap(), Some(who)).unwrap();
    let ask = |version: &str, wait| CertsRequest { version: version.to_owned(), wait };
    let patience = Duration::from_secs(30);

    let refused = client(&stranger).call::<Certs>(&ask("", 0), patience).await;
    assert!(matches!(refused, Err(CallError::Away(_))));
    let exploder = client(&friend);
    let empty = exploder.call::<Certs>(&ask("", 0), patience).await.unwrap();
    assert_eq!(empty.groups, Some(vec![]));
    let unchanged = exploder.call::<Certs>(&ask(&empty.version, 0), patience).await.unwrap();
    assert_eq!(unchanged.groups, None);
    let (ask_long, other) = (ask(&empty.version, 20), exploder.clone());
    let waiting = tokio::spawn(async move { other.call::<Certs>(&ask_long, patience).await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    world.key(group, KeyAlgorithm::P256).await;
    let page = waiting.await.unwrap().unwrap();
    let epochs = &page.groups.unwrap()[0].epochs;
    assert_eq!((epochs.len(), epochs[0].state), (1, EpochState::Live));
    world.key(group, KeyAlgorithm::Rsa3072).await;
    world.key(group, KeyAlgorithm::P256).await;
    let page = exploder.call::<Certs>(&ask("", 0), patience).await.unwrap();
    let states: Vec<_> = page.groups.unwrap()[0].epochs.iter().map(|e| (e.epoch.0, e.algorithm, e.state)).collect();
    assert_eq!(
        states,
        [
            (2, KeyAlgorithm::P256, EpochState::Live),
            (1, KeyAlgorithm::Rsa3072, EpochState::Retained),
            (1, KeyAlgorithm::P256, EpochState::Retained),
        ]
    );
    world.say(&GroupsrvChange::GroupDeleted { group }).await;
    let page = exploder.call::<Certs>(&ask(&page.version, 20), patience).await.unwrap();
    assert_eq!(page.groups, Some(vec![]));

    // A pin that was taken away counts on open connections too.
    world.service.pins.write().unwrap().exploders.remove(&pin);
    let refused = exploder.call::<Certs>(&ask("", 0), patience).await;
    assert!(matches!(refused, Err(CallError::Refused(_))), "{refused:?}");
}
