//! Locks and elections.

use super::{super::*, Pen, broken, bytes, time};

/// A holds from its place on, B comes and follows.
fn two() -> Story {
    let mut pen = Pen::new();
    pen.session("a", 1);
    pen.session("b", 2);
    let one = pen.put("n/1", "", 1); // 4
    let two = pen.put("n/2", "", 2); // 5
    pen.pass(2);
    pen.delete("n/1"); // 8
    pen.pass(1);
    pen.delete("n/2"); // 10
    pen.pass(2);
    let mut story = pen.story();
    story.left = vec![bytes("n")];
    story.holds = vec![hold("a", one, 1, (4, 7)), hold("b", two, 2, (8, 9))];
    story
}

/// Asked just before the token's revision, told at one revision's time and left at another's.
fn hold(client: &str, token: i64, lease: i64, (told, left): (i64, i64)) -> Hold {
    Hold {
        kind: HoldKind::Lock,
        names: vec![bytes("n")],
        client: client.to_owned(),
        asked: time(token) - 10,
        until: None,
        told: Some(Told {
            at: time(told) + 1,
            token,
            lease,
            checked: time(left) + 1,
            work: Vec::new(),
        }),
        ended: Some(HoldEnd::Left(time(left) + 2)),
    }
}

fn told(hold: &mut Hold) -> &mut Told {
    hold.told.as_mut().unwrap()
}

fn election(mut story: Story) -> Story {
    for hold in &mut story.holds {
        hold.kind = HoldKind::Election;
    }
    story
}

fn expect(change: impl FnOnce(&mut Story), lock: Invariant, leader: Invariant) {
    let mut story = two();
    change(&mut story);
    assert_eq!(broken(&story), [lock], "{:?}", check(&story));
    assert_eq!(broken(&election(story)), [leader]);
}

#[test]
fn one_after_another_is_fine() {
    assert_eq!(broken(&two()), []);
    assert_eq!(broken(&election(two())), []);
}

#[test]
fn l1_a_grant_without_ever_being_the_oldest() {
    let mut pen = Pen::new();
    pen.session("a", 1);
    pen.session("b", 2);
    let one = pen.put("n/1", "", 1);
    let two = pen.put("n/2", "", 2); // 5
    pen.delete("n/2"); // 6
    pen.delete("n/1"); // 7
    let mut story = pen.story();
    story.holds = vec![hold("a", one, 1, (4, 4)), hold("b", two, 2, (5, 5))];
    assert_eq!(broken(&story), [Invariant::L1]);
    assert_eq!(broken(&election(story)), [Invariant::E1]);
}

#[test]
fn l2_two_believe_at_once() {
    // The first still says yes when the second is told.
    let late = |story: &mut Story| {
        told(&mut story.holds[0]).checked = time(8) + 50;
        story.holds[0].ended = Some(HoldEnd::Left(time(7)));
    };
    expect(late, Invariant::L2, Invariant::E4);
    // Whom others took it away from cannot know.
    let mut story = two();
    late(&mut story);
    story.meddlings = vec![Meddling {
        at: time(8) - 5,
        lease: 0,
        key: bytes("n/1"),
    }];
    assert_eq!(broken(&story), []);
}

#[test]
fn l3_a_token_that_does_not_grow() {
    let mut story = two();
    story.holds.push(hold("a", 4, 1, (4, 4)));
    let third = story.holds.last_mut().unwrap();
    (third.asked, told(third).at, told(third).checked) = (time(6), time(9), time(9));
    third.ended = Some(HoldEnd::Left(time(9)));
    assert!(broken(&story).contains(&Invariant::L3));
    assert!(broken(&election(story)).contains(&Invariant::E3));
}

#[test]
fn l4_somebody_else_s_place_is_deleted() {
    // B's place went though B, which waits, did not leave.
    let stays = |story: &mut Story| story.holds[1].ended = Some(HoldEnd::Left(time(12)));
    expect(stays, Invariant::L4, Invariant::E6);
    let mut story = two();
    stays(&mut story);
    story.meddlings = vec![Meddling {
        at: time(9),
        lease: 2,
        key: bytes(""),
    }];
    assert_eq!(broken(&story), []);
}

#[test]
fn l5_a_grant_before_its_time() {
    // The first gave it back long before; nobody was told that it is free.
    let early = |story: &mut Story| {
        told(&mut story.holds[0]).checked = time(5);
        story.holds[0].ended = Some(HoldEnd::Left(time(6)));
        told(&mut story.holds[1]).at = time(7);
    };
    expect(early, Invariant::L5, Invariant::E1);
    let ghost = |story: &mut Story| told(&mut story.holds[1]).token = 7;
    let mut story = two();
    ghost(&mut story);
    assert!(broken(&story).contains(&Invariant::L5));
    let work = |story: &mut Story| told(&mut story.holds[1]).work = vec![9, 11];
    expect(work, Invariant::L5, Invariant::E1);
}

#[test]
fn l6_a_place_that_is_given_up_on_the_way() {
    let mut pen = Pen::new();
    pen.session("a", 1);
    pen.session("b", 2);
    pen.put("n/2", "", 2); // 4
    let one = pen.put("n/1", "", 1); // 5
    let again = pen.write(&[("n/2-1", "", 2)], &["n/2"]); // 6
    pen.delete("n/1");
    pen.delete("n/2-1"); // 8
    let mut story = pen.story();
    story.holds = vec![hold("a", one, 1, (6, 6)), hold("b", again, 2, (7, 7))];
    story.holds[1].asked = time(3) + 10;
    assert!(broken(&story).contains(&Invariant::L6));
    story.holds[1].asked = time(5);
    assert!(!broken(&story).contains(&Invariant::L6));
}

#[test]
fn l7_the_first_in_line_is_not_told() {
    let mut pen = Pen::new();
    pen.session("a", 1);
    let one = pen.put("n/1", "", 1); // 3
    pen.pass(20);
    pen.delete("n/1");
    let story = |told, calm| {
        let mut story = Pen {
            events: pen.events.clone(),
            revision: pen.revision,
            there: Vec::new(),
        }
        .story();
        story.holds = vec![hold("a", one, 1, (told, 23))];
        story.calm[0].to = time(calm);
        broken(&story)
    };
    assert_eq!(story(7, 25), []);
    assert_eq!(story(12, 25), [Invariant::L7]);
    // With faults it may take longer.
    assert_eq!(story(12, 7), []);
}

#[test]
fn l8_a_place_that_stays() {
    let mut pen = Pen::new();
    pen.session("a", 1);
    let one = pen.put("n/1", "", 1); // 3
    pen.pass(8);
    let mut story = pen.story();
    story.holds = vec![hold("a", one, 1, (3, 4))];
    assert_eq!(broken(&story), [Invariant::L8]);
    assert_eq!(broken(&election(story.clone())), [Invariant::E6]);
    // Whose owner died it is the lease's affair, but at the end nothing may be left.
    story.holds[0].ended = Some(HoldEnd::Crashed(time(4)));
    assert_eq!(broken(&story), []);
    story.left = vec![bytes("n")];
    assert_eq!(broken(&story), [Invariant::L8]);
}

#[test]
fn e2_a_leader_that_was_none() {
    let view = |revision, token| {
        let mut story = two();
        story.views = vec![View {
            name: bytes("n"),
            observer: "o".to_owned(),
            at: time(20),
            revision,
            token,
            value: bytes(""),
        }];
        broken(&story)
    };
    for (revision, token) in [(4, 4), (7, 4), (8, 5), (10, 0), (0, 5), (0, 0)] {
        assert_eq!(view(revision, token), [], "{token} at {revision}");
    }
    for (revision, token) in [(7, 5), (8, 4), (8, 0), (10, 5), (0, 7)] {
        assert_eq!(
            view(revision, token),
            [Invariant::E2],
            "{token} at {revision}"
        );
    }
}
