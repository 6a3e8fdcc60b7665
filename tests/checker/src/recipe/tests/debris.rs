//! What is left at the end.

use super::{super::*, Pen, broken, bytes};

/// A session has come and gone; `keys` with their leases are left.
fn left(keys: &[(&str, i64)]) -> Vec<Invariant> {
    let mut pen = Pen::new();
    pen.session("p", 7);
    for (key, lease) in keys {
        pen.put(key, "", *lease);
    }
    pen.delete("_handfast/session/7");
    let mut story = pen.story();
    story.over = true;
    story.left = vec![bytes("lock/a")];
    story.queues = vec![QueueStory {
        prefix: bytes("q/"),
        effects: bytes("fx/"),
        ..QueueStory::default()
    }];
    broken(&story)
}

#[test]
fn what_has_an_owner_or_none_by_design_is_fine() {
    let keys = [
        ("user/a", 0),
        ("_handfast/note/lock/a/1", 9),
        ("_handfast/own/once/1/run", 0),
        ("q/items/a", 0),
    ];
    assert_eq!(left(&keys), []);
}

#[test]
fn d1_what_nobody_will_take_away() {
    for key in [
        ("_handfast/gone/lock/a/1", 0),
        ("_handfast/gone/lock/a/1", 9),
        ("_handfast/own/lock/a", 0),
        ("_handfast/note/lock/a/1", 0),
        ("_handfast/left/s/i", 0),
        ("q/workers/7-1", 9),
        ("user/a", 7),
    ] {
        assert_eq!(left(&[key]), [Invariant::D1], "{key:?}");
    }
}
