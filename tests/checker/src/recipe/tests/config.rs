//! Configurations.

use super::{super::*, Pen, broken, bytes, time};

fn applied(revision: i64, values: &[(&str, &str)]) -> Applied {
    Applied {
        client: "p".to_owned(),
        at: time(revision) + 10,
        revision,
        values: values
            .iter()
            .map(|(key, value)| ((*key).to_owned(), bytes(value)))
            .collect(),
    }
}

/// `a` and `b` are published together at 2 and at 3, an invalid set at 4, and again a good one.
fn story(applied: Vec<Applied>) -> Vec<Invariant> {
    let mut pen = Pen::new();
    for value in ["1", "2", "!", "3"] {
        pen.write(&[("c/a", value, 0), ("c/b", value, 0)], &[]);
    }
    pen.pass(10);
    let mut story = pen.story();
    let span = Span {
        from: 0,
        to: story.ended,
    };
    story.configs = vec![ConfigStory {
        prefix: bytes("c/"),
        applied,
        subscribers: vec![("p".to_owned(), span)],
        invalid: bytes("!"),
        starts: Vec::new(),
    }];
    broken(&story)
}

fn good() -> Vec<Applied> {
    vec![
        applied(2, &[("a", "1"), ("b", "1")]),
        applied(5, &[("a", "3"), ("b", "3")]),
    ]
}

#[test]
fn a_subsequence_that_ends_with_the_last_is_fine() {
    assert_eq!(story(good()), []);
}

#[test]
fn c1_what_was_never_published_or_is_not_valid_or_goes_back() {
    let with = |one: Applied| {
        let mut all = good();
        all.insert(1, one);
        story(all)
    };
    assert_eq!(with(applied(3, &[("a", "9"), ("b", "2")])), [Invariant::C1]);
    assert_eq!(with(applied(4, &[("a", "!"), ("b", "!")])), [Invariant::C1]);
    assert_eq!(with(applied(3, &[("a", "2"), ("b", "2")])), []);
    let mut all = good();
    all.push(applied(3, &[("a", "2"), ("b", "2")]));
    assert_eq!(story(all), [Invariant::C1]);
}

#[test]
fn c2_half_of_a_set() {
    let mut all = good();
    all.insert(1, applied(3, &[("a", "1"), ("b", "2")]));
    assert_eq!(story(all), [Invariant::C2]);
}

#[test]
fn c3_the_last_set_is_not_reached() {
    assert_eq!(story(good()[..1].to_vec()), [Invariant::C3]);
    let mut late = good();
    late[1].at = time(13);
    assert_eq!(story(late), [Invariant::C3]);
}

#[test]
fn c4_a_disk_that_was_not_written() {
    let start = |revision| {
        let mut pen = Pen::new();
        for value in ["1", "2"] {
            pen.write(&[("c/a", value, 0), ("c/b", value, 0)], &[]);
        }
        pen.pass(60);
        let mut story = pen.story();
        let lived = |from, to| Span {
            from: time(from),
            to: time(to),
        };
        let both = |value| [("a", value), ("b", value)];
        let later = Applied {
            client: "q".to_owned(),
            at: time(40),
            ..applied(3, &both("2"))
        };
        story.configs = vec![ConfigStory {
            prefix: bytes("c/"),
            applied: vec![applied(2, &both("1")), applied(3, &both("2")), later],
            subscribers: vec![
                ("p".to_owned(), lived(0, 30)),
                ("q".to_owned(), lived(40, 60)),
            ],
            invalid: bytes("!"),
            starts: vec![Start {
                client: "q".to_owned(),
                at: time(40),
                revision,
                before: vec!["p".to_owned()],
            }],
        }];
        broken(&story)
    };
    assert_eq!(start(3), []);
    assert_eq!(start(2), [Invariant::C4]);
}
