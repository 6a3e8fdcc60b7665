//! Queues.

use super::{super::*, Pen, broken, bytes, time};

/// `x` is pushed, claimed, acknowledged with its effect; `y` waits for it and for a gate.
fn good() -> (Pen, QueueStory) {
    let mut pen = Pen::new();
    pen.session("w", 7);
    pen.put("q/items/x", "", 0); // 3
    pen.put("q/items/y", "", 0); // 4
    let x = pen.put("q/claims/x", "", 7); // 5
    pen.write(
        &[("q/done/x", "", 0), ("q/gate/g", "", 0), ("fx/x", "", 0)],
        &["q/items/x", "q/claims/x"],
    ); // 6
    let y = pen.put("q/claims/y", "", 7); // 7
    let push = |id: &str, after: &[&str], gate: Option<&str>| Push {
        id: id.to_owned(),
        after: after.iter().map(|id| (*id).to_owned()).collect(),
        gate: gate.map(str::to_owned),
        opens: None,
        asked: time(2),
        told: Some(time(4)),
    };
    let queue = QueueStory {
        prefix: bytes("q/"),
        effects: bytes("fx/"),
        max_attempts: 2,
        pushes: vec![push("x", &[], None), push("y", &["x"], Some("g"))],
        claims: vec![
            claim("x", x, 1, Some((6, Claimed::Acked))),
            claim("y", y, 1, None),
        ],
        waits: Vec::new(),
    };
    (pen, queue)
}

fn claim(id: &str, token: i64, attempt: u32, ended: Option<(i64, Claimed)>) -> Claim {
    Claim {
        id: id.to_owned(),
        client: "w".to_owned(),
        token,
        lease: 7,
        attempt,
        told: time(token),
        checked: time(token) + 10,
        ended: ended.map(|(at, how)| (time(at), how)),
    }
}

fn judge(pen: Pen, queue: QueueStory) -> Vec<Invariant> {
    let mut story = pen.story();
    story.queues = vec![queue];
    broken(&story)
}

#[test]
fn a_good_queue_is_fine() {
    let (pen, queue) = good();
    assert_eq!(judge(pen, queue), []);
}

#[test]
fn q1_an_item_vanishes_or_is_in_two_places() {
    let (mut pen, queue) = good();
    pen.delete("q/items/y");
    assert_eq!(judge(pen, queue), [Invariant::Q1]);
    let (mut pen, queue) = good();
    pen.put("q/dead/y", "", 0);
    assert_eq!(judge(pen, queue), [Invariant::Q1]);
    let (pen, mut queue) = good();
    let mut lost = queue.pushes[0].clone();
    lost.id = "z".to_owned();
    queue.pushes.push(lost);
    assert_eq!(judge(pen, queue), [Invariant::Q1]);
}

#[test]
fn q2_two_claims() {
    // A second worker's put over the first one's claim.
    let (mut pen, queue) = good();
    pen.put("q/claims/y", "", 9);
    assert_eq!(judge(pen, queue), [Invariant::Q2]);
    let (pen, mut queue) = good();
    let mut other = claim("y", 7, 2, None);
    other.told += 5;
    queue.claims.push(other);
    assert_eq!(judge(pen, queue), [Invariant::Q2]);
    let (pen, mut queue) = good();
    queue.claims.push(claim("z", 6, 1, None));
    assert_eq!(judge(pen, queue), [Invariant::Q2]);
}

#[test]
fn q3_effects_twice_without_a_claim_or_not_at_all() {
    let (mut pen, queue) = good();
    pen.put("fx/x", "again", 0);
    assert_eq!(judge(pen, queue), [Invariant::Q3]);
    let (mut pen, queue) = good();
    pen.put("fx/y", "", 0);
    assert_eq!(judge(pen, queue), [Invariant::Q3]);
    let (pen, mut queue) = good();
    queue.claims[1].ended = Some((time(8), Claimed::Acked));
    assert_eq!(judge(pen, queue), [Invariant::Q3]);
}

#[test]
fn q4_before_its_conditions() {
    for early in ["after", "gate", "control"] {
        let (mut pen, mut queue) = good();
        match early {
            "after" => queue.pushes[0].after = vec!["y".to_owned()],
            "gate" => queue.pushes[0].gate = Some("g".to_owned()),
            _ => {
                pen.put("q/control", "pause", 0); // 8
                pen.put("q/items/z", "", 0);
                pen.put("q/claims/z", "", 7);
            }
        }
        assert_eq!(judge(pen, queue), [Invariant::Q4], "{early}");
    }
}

/// A rule is set, `z` is pushed, `open` is put, and `z` is claimed.
fn whole(rule: &str, open: &[&str], opens: Option<&str>) -> Vec<Invariant> {
    let (mut pen, mut queue) = good();
    let rule = format!("{{\"condition\":{rule},\"epoch\":\"e\"}}");
    pen.put("q/condition", &rule, 0);
    pen.put("q/items/z", "", 0);
    for key in open {
        pen.put(key, "run", 0);
    }
    pen.put("q/claims/z", "", 7);
    let mut push = queue.pushes[0].clone();
    push.id = "z".to_owned();
    push.opens = opens.map(str::to_owned);
    queue.pushes.push(push);
    judge(pen, queue)
}

#[test]
fn q4_before_the_queue_is_open() {
    let count = |count| format!("{{\"count\":{count}}}");
    assert_eq!(whole(&count(1), &["q/open/e"], None), []);
    assert_eq!(whole(&count(1), &[], None), [Invariant::Q4]);
    assert_eq!(whole(&count(1), &["q/open/other"], None), [Invariant::Q4]);
    // Opened by somebody who cannot count.
    assert_eq!(whole(&count(2), &["q/open/e"], None), [Invariant::Q4]);
    let gate = r#"{"gate":"h"}"#;
    assert_eq!(whole(gate, &["q/gate/h"], None), []);
    assert_eq!(whole(gate, &[], Some("h")), []);
    assert_eq!(whole(gate, &["q/gate/i"], None), [Invariant::Q4]);
    assert_eq!(whole("\"start\"", &["q/control"], None), []);
    assert_eq!(whole("\"start\"", &[], None), [Invariant::Q4]);
}

#[test]
fn q6_enough_but_nobody_says_so() {
    for (count, found) in [(1, vec![Invariant::Q6]), (2, vec![])] {
        let (mut pen, mut queue) = good();
        let rule = format!("{{\"condition\":{{\"count\":{count}}},\"epoch\":\"e\"}}");
        pen.put("q/condition", &rule, 0); // 8
        pen.put("q/items/z", "", 0); // 9
        pen.pass(10);
        let mut push = queue.pushes[0].clone();
        push.id = "z".to_owned();
        queue.pushes.push(push);
        let (from, to) = (time(9), time(19));
        queue.waits = vec![Wait {
            client: "v".to_owned(),
            span: Span { from, to },
        }];
        assert_eq!(judge(pen, queue), found, "{count}");
    }
}

#[test]
fn q5_too_many_attempts_or_one_twice() {
    let (pen, mut queue) = good();
    queue.claims[1].attempt = 3;
    assert_eq!(judge(pen, queue), [Invariant::Q5]);
    let (mut pen, mut queue) = good();
    pen.delete("q/claims/y");
    let again = pen.put("q/claims/y", "", 7);
    queue.claims[1].ended = Some((time(8), Claimed::Failed));
    queue.claims.push(claim("y", again, 1, None));
    assert_eq!(judge(pen, queue), [Invariant::Q5]);
}

#[test]
fn q6_free_while_somebody_waits() {
    let (mut pen, mut queue) = good();
    pen.put("q/items/z", "", 0); // 8
    pen.pass(10);
    let mut push = queue.pushes[0].clone();
    push.id = "z".to_owned();
    queue.pushes.push(push);
    queue.waits = vec![Wait {
        client: "v".to_owned(),
        span: Span {
            from: time(8),
            to: time(18),
        },
    }];
    assert_eq!(judge(pen, queue.clone()), [Invariant::Q6]);
    let (mut pen, _) = good();
    pen.put("q/items/z", "", 0);
    pen.put("q/claims/z", "", 7);
    pen.pass(10);
    assert_eq!(judge(pen, queue), []);
}

#[test]
fn q7_a_claim_of_the_dead() {
    let (mut pen, mut queue) = good();
    pen.pass(25);
    queue.claims[1].ended = Some((time(8), Claimed::Crashed));
    assert_eq!(judge(pen, queue.clone()), [Invariant::Q7]);
    let (mut pen, _) = good();
    pen.delete("_handfast/session/7");
    assert_eq!(judge(pen, queue), [Invariant::Q7]);
}
