//! Several locks at once.

use super::{super::*, Pen, broken, bytes, time};

fn story(pen: Pen, token: i64, told: i64, left: i64) -> Story {
    let mut story = pen.story();
    story.holds = vec![Hold {
        kind: HoldKind::Lock,
        names: vec![bytes("a"), bytes("b")],
        client: "p".to_owned(),
        asked: time(token) - 10,
        until: None,
        told: Some(Told {
            at: time(told),
            token,
            lease: 1,
            checked: time(told) + 1,
            work: Vec::new(),
        }),
        ended: Some(HoldEnd::Left(time(left) - 5)),
    }];
    story
}

#[test]
fn all_at_once_is_fine() {
    let mut pen = Pen::new();
    pen.session("p", 1);
    let token = pen.write(&[("a/1", "", 1), ("b/1", "", 1)], &[]);
    pen.pass(1);
    let left = pen.write(&[], &["a/1", "b/1"]);
    assert_eq!(broken(&story(pen, token, token, left)), []);
}

#[test]
fn m1_one_by_one_is_not() {
    let mut pen = Pen::new();
    pen.session("p", 1);
    let token = pen.write(&[("a/1", "", 1), ("b/1", "", 1)], &[]);
    let left = pen.delete("a/1");
    pen.delete("b/1");
    assert_eq!(broken(&story(pen, token, token, left)), [Invariant::M1]);
    let mut pen = Pen::new();
    pen.session("p", 1);
    pen.put("a/1", "", 1);
    let token = pen.put("b/1", "", 1);
    let left = pen.write(&[], &["a/1", "b/1"]);
    let found = broken(&story(pen, token, token, left));
    assert!(found.contains(&Invariant::M1), "{found:?}");
}

#[test]
fn m3_refused_for_somebody_who_is_not_there() {
    let mut pen = Pen::new();
    pen.session("p", 1);
    let token = pen.write(&[("a/1", "", 1), ("b/1", "", 1)], &[]);
    pen.pass(1);
    let left = pen.write(&[], &["a/1", "b/1"]);
    pen.pass(20);
    let mut story = story(pen, token, token, left);
    let mut with = |name: &str, found, from| {
        let to = time(from + 1);
        story.conflicts = vec![Conflict {
            name: bytes(name),
            found,
            span: Span {
                from: time(from),
                to,
            },
        }];
        broken(&story)
    };
    assert_eq!(with("a", HoldKind::Lock, 3), []);
    assert_eq!(with("a", HoldKind::Election, 3), [Invariant::M3]);
    assert_eq!(with("c", HoldKind::Lock, 3), [Invariant::M3]);
    assert_eq!(with("a", HoldKind::Lock, 20), [Invariant::M3]);
}

#[test]
fn m2_crosswise_places_and_a_grant_that_does_not_come() {
    let mut pen = Pen::new();
    pen.session("p", 1);
    pen.session("q", 2);
    pen.put("a/1", "", 1);
    pen.put("b/2", "", 2);
    let token = pen.put("b/1", "", 1);
    pen.put("a/2", "", 2);
    pen.pass(10);
    let left = pen.write(&[], &["a/1", "b/1", "a/2", "b/2"]);
    let mut crossed = story(pen, token, left, left);
    assert!(broken(&crossed).contains(&Invariant::M2));
    crossed.calm[0].to = time(8);
    assert!(!broken(&crossed).contains(&Invariant::M2));
    let mut pen = Pen::new();
    pen.session("p", 1);
    let token = pen.write(&[("a/1", "", 1), ("b/1", "", 1)], &[]);
    pen.pass(20);
    let left = pen.write(&[], &["a/1", "b/1"]);
    assert_eq!(broken(&story(pen, token, 15, left)), [Invariant::M2]);
}
