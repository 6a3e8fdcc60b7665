//! What is done once.

use super::{super::*, Pen, broken, bytes, time};

fn call(client: &str, answer: Option<(i64, &str)>) -> OnceCall {
    OnceCall {
        result: bytes("n/result"),
        client: client.to_owned(),
        asked: time(2),
        answered: answer.map(|(at, value)| (time(at), bytes(value))),
        ..OnceCall::default()
    }
}

fn run(token: i64, from: i64, to: i64) -> OnceRun {
    OnceRun {
        token,
        lease: token,
        span: Span {
            from: time(from),
            to: time(to),
        },
    }
}

fn story(values: &[&str], calls: Vec<OnceCall>) -> Vec<Invariant> {
    let mut pen = Pen::new();
    pen.pass(3);
    for value in values {
        pen.put("n/result", value, 0); // from 5 on
    }
    pen.pass(40);
    let mut story = pen.story();
    story.once = calls;
    broken(&story)
}

#[test]
fn one_result_for_everybody_is_fine() {
    let mut runner = call("a", Some((5, "x")));
    runner.runs = vec![run(3, 3, 4)];
    // A runner before it died.
    let mut dead = call("c", None);
    (dead.runs, dead.ended) = (vec![run(2, 2, 3)], Some(time(3)));
    assert_eq!(
        story(&["x"], vec![runner, call("b", Some((9, "x"))), dead]),
        []
    );
}

#[test]
fn o1_two_results_or_another_one() {
    assert_eq!(
        story(&["x", "y"], vec![call("a", Some((9, "x")))]),
        [Invariant::O1]
    );
    assert_eq!(
        story(&["x"], vec![call("a", Some((9, "z")))]),
        [Invariant::O1]
    );
    assert_eq!(
        story(&["x"], vec![call("a", Some((3, "x")))]),
        [Invariant::O1]
    );
    let mut both = call("a", Some((9, "x")));
    both.runs = vec![run(2, 2, 4), run(3, 3, 4)];
    assert_eq!(story(&["x"], vec![both]), [Invariant::O1]);
}

#[test]
fn o2_nobody_takes_over() {
    assert_eq!(story(&[], vec![call("a", None)]), [Invariant::O2]);
    assert_eq!(
        story(&["x"], vec![call("a", Some((40, "x")))]),
        [Invariant::O2]
    );
}
