//! Services.

use super::{super::*, Pen, broken, bytes, time};

/// `x` is registered by `a`, and `y` by `b`; an observer looks at 5.
fn good() -> (Pen, ServiceStory) {
    let mut pen = Pen::new();
    pen.session("a", 1);
    pen.session("b", 2);
    pen.put("s/x", "", 1); // 4
    pen.put("s/y", "", 2); // 5
    let registration = |instance: &str, client: &str, told: i64| Registration {
        instance: instance.to_owned(),
        client: client.to_owned(),
        told: time(told),
        ..Registration::default()
    };
    let service = ServiceStory {
        prefix: bytes("s/"),
        left: bytes("_handfast/left/"),
        registrations: vec![registration("x", "a", 4), registration("y", "b", 5)],
        listings: vec![listing(5, &["x", "y"])],
    };
    (pen, service)
}

fn listing(revision: i64, names: &[&str]) -> Listing {
    let listed = |name: &&str| Listed {
        instance: (*name).to_owned(),
        suspect: false,
    };
    Listing {
        observer: "o".to_owned(),
        at: time(revision) + 10,
        revision,
        instances: names.iter().map(listed).collect(),
    }
}

fn judge(pen: Pen, service: ServiceStory) -> Vec<Invariant> {
    let mut story = pen.story();
    story.services = vec![service];
    broken(&story)
}

#[test]
fn a_good_service_is_fine() {
    let (pen, service) = good();
    assert_eq!(judge(pen, service), []);
    let (mut pen, mut service) = good();
    pen.write(&[("_handfast/left/s/x", "", 9)], &["s/x"]); // 6
    pen.pass(10);
    service.registrations[0].leaving = Some(time(5) + 20);
    service.registrations[0].left = Some(time(6));
    service.listings.push(listing(6, &["y"]));
    assert_eq!(judge(pen, service), []);
}

#[test]
fn g1_two_owners_or_none() {
    let (mut pen, service) = good();
    pen.put("s/x", "", 2);
    assert_eq!(judge(pen, service), [Invariant::G1]);
    let (mut pen, service) = good();
    pen.put("s/x", "", 0);
    assert_eq!(judge(pen, service), [Invariant::G1]);
    // The same program under its next lease.
    let (mut pen, service) = good();
    pen.session("a", 3);
    pen.put("s/x", "", 3);
    assert_eq!(judge(pen, service), []);
}

#[test]
fn g2_what_left_is_offered_or_what_is_there_is_not() {
    let (mut pen, mut service) = good();
    pen.write(&[("_handfast/left/s/x", "", 9)], &["s/x"]); // 6
    service.registrations[0].leaving = Some(time(5));
    let mut suspect = listing(6, &["x", "y"]);
    suspect.instances[0].suspect = true;
    service.listings.push(suspect.clone());
    assert_eq!(judge(pen, service), [Invariant::G2]);
    // Who died may be suspected.
    let (mut pen, mut service) = good();
    pen.delete("s/x");
    service.listings.push(suspect);
    assert_eq!(judge(pen, service), []);
    let (pen, mut service) = good();
    service.listings.push(listing(5, &["y"]));
    assert_eq!(judge(pen, service), [Invariant::G2]);
}

#[test]
fn g3_back_after_it_was_unregistered() {
    let (mut pen, mut service) = good();
    pen.delete("s/x"); // 6
    pen.put("s/x", "", 1);
    pen.delete("s/x");
    service.registrations[0].leaving = Some(time(5));
    service.registrations[0].left = Some(time(6));
    assert_eq!(judge(pen, service), [Invariant::G3]);
}

#[test]
fn g4_missing_for_long_though_it_lives() {
    let (mut pen, service) = good();
    pen.write(&[], &["_handfast/session/1", "s/x"]);
    pen.pass(25);
    assert_eq!(judge(pen, service), [Invariant::G4]);
}

#[test]
fn g5_a_death_that_nobody_is_told_of() {
    let (mut pen, mut service) = good();
    pen.pass(30);
    service.registrations[0].ended = Some(time(6));
    assert_eq!(judge(pen, service.clone()), [Invariant::G5]);
    let (mut pen, _) = good();
    pen.delete("s/x"); // 6
    pen.pass(30);
    let mut late = listing(5, &["x", "y"]);
    late.at = time(20);
    service.listings.push(late);
    assert_eq!(judge(pen, service), [Invariant::G5]);
}
