//! Substitute keys are counted, and told when the day is over.

use super::calls::{sealed, sealed_oaep, with_encrypted_key};
use super::support::{Member, World, ec, rsa};
use crate::admin;
use openssl::nid::Nid;
use prometheus::{Encoder as _, TextEncoder};
use std::sync::Arc;
use twinseal_proto::api::ProblemCode;
use twinseal_proto::api::admin::Nothing;
use twinseal_proto::api::admin::groupsrv::ListedKeys;
use twinseal_proto::api::keys::KeyAlgorithm;
use twinseal_proto::feed::History;
use twinseal_proto::time::UnixTime;
use twinseal_svc::http::Caller;

const DAY: u64 = 86_400;

/// All that anybody may read: what administrators are told, what exploders and operators may scrape.
async fn seen(world: &World) -> (Vec<ListedKeys>, Vec<String>, bool, Option<String>) {
    let service = || Arc::clone(&world.service);
    let keys = admin::list_keys(service(), Caller::Administrator, Nothing {}).await.unwrap();
    let status = admin::status(service(), Caller::Administrator, Nothing {}).await.unwrap();
    let text = |registry: &prometheus::Registry| {
        let mut text = Vec::new();
        TextEncoder::new().encode(&registry.gather(), &mut text).unwrap();
        String::from_utf8(text).unwrap()
    };
    let exploders = text(&world.service.metrics.registry).contains("substituted");
    let operators = text(&world.service.metrics.for_operators);
    let gauge = operators.lines().find(|line| line.starts_with("groupsrv_substituted_last_day ")).map(str::to_owned);
    (keys, status.warnings, exploders, gauge)
}

#[tokio::test]
async fn substitutes_are_counted_and_told_when_the_day_is_over() {
    let world = World::new().await;
    let (group, quiet) = (world.group(1, History::SinceJoin).await, world.group(2, History::SinceJoin).await);
    let members = [1, 2].map(|number| Member::new(&world.authority, number, ec(Nid::X9_62_PRIME256V1)));
    for member in &members {
        world.join(group, member).await;
        world.join(quiet, member).await;
    }
    let [one, two] = members.each_ref().map(|member| [member.handle]);
    let rsa_key = world.key(group, KeyAlgorithm::Rsa3072).await;
    let ec_key = world.key(group, KeyAlgorithm::P256).await;
    let quiet_key = world.key(quiet, KeyAlgorithm::Rsa3072).await;
    let before = seen(&world).await;
    assert_eq!(before.3.as_deref(), Some("groupsrv_substituted_last_day 0"));

    let broken = |info: &[u8]| with_encrypted_key(info, |key| key[5] ^= 1);
    // Good ones of all sorts, and broken ones of those sorts that refuse.
    for info in [sealed(&rsa_key, 1), sealed_oaep(&rsa_key, 2), sealed(&ec_key, 3)] {
        world.register(group, &info).await.unwrap();
        world.expand(group, &info, &one).await.unwrap();
    }
    let good = sealed(&quiet_key, 4);
    world.register(quiet, &good).await.unwrap();
    world.expand(quiet, &good, &one).await.unwrap();
    for info in [broken(&sealed_oaep(&rsa_key, 2)), broken(&sealed(&ec_key, 3))] {
        world.register(group, &info).await.unwrap();
        assert_eq!(world.expand(group, &info, &one).await.unwrap_err().code, ProblemCode::Refused);
    }
    // Two broken blocks, one of them asked about in three calls, two of them at once.
    let (first, second) = (broken(&sealed(&rsa_key, 5)), broken(&sealed(&rsa_key, 6)));
    for info in [&first, &second] {
        world.register(group, info).await.unwrap();
    }
    let (a, b) = tokio::join!(world.expand(group, &first, &one), world.expand(group, &first, &two));
    assert_eq!(members[0].open(&a.unwrap().wraps[0]), members[1].open(&b.unwrap().wraps[0]));
    world.expand(group, &first, &one).await.unwrap();
    world.expand(group, &second, &one).await.unwrap();
    assert_eq!(seen(&world).await, before, "nothing is told within the day");

    // What was kept comes back.
    world.service.keep_substituted().unwrap();
    let world = world.restart(|_| {}).await.unwrap();
    assert_eq!(seen(&world).await, before, "nor by a restart");

    let today = UnixTime(UnixTime::now().0 / DAY * DAY);
    world.service.pass_day(today.plus(DAY));
    let told = world.service.told_substituted(&group).unwrap();
    assert_eq!((told.day, told.number), (today, 2));
    assert_eq!(world.service.told_substituted(&quiet).unwrap().number, 0);
    assert_eq!(world.service.metrics.substituted.get(), 2);
    let warning = world.service.substituted_warning().unwrap();
    let date = today.to_string().replace("T00:00:00Z", "");
    assert!(warning.starts_with("2 wrapped keys of ") && warning.contains(&date), "{warning}");
    world.service.pass_day(today.plus(2 * DAY));
    assert_eq!((world.service.metrics.substituted.get(), world.service.substituted_warning()), (0, None));
}

#[tokio::test]
async fn listing_shows_the_finished_day() {
    let world = World::new().await;
    let group = world.group(1, History::SinceJoin).await;
    let member = Member::new(&world.authority, 1, rsa(2048));
    world.join(group, &member).await;
    world.key(group, KeyAlgorithm::P256).await;
    let yesterday = UnixTime::now().0 / DAY - 1;
    let row = crate::substituted::Row { day: yesterday, group, number: 3 };
    world.service.index.keep_substituted(&[row]).unwrap();
    let world = world.restart(|_| {}).await.unwrap();
    let (keys, warnings, exploders, gauge) = seen(&world).await;
    assert_eq!(keys[0].substituted.unwrap().number, 3);
    assert!(warnings.iter().any(|warning| warning.starts_with("3 wrapped keys")), "{warnings:?}");
    assert!(!exploders);
    assert_eq!(gauge.as_deref(), Some("groupsrv_substituted_last_day 3"));
}
