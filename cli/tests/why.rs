//! `handfast why`: why am I waiting, against handfast and etcd.

#![allow(clippy::unwrap_used)]

mod support;

use support::{Process, Server};

#[test]
fn one_who_waits_learns_who_has_it_and_who_is_before() {
    for server in Server::all() {
        let holder = Process::start(server.command(&["lock", "jobs/nightly"]));
        holder.wait_for("token");
        let wait = ["lock", "jobs/nightly", "--verbose"];
        let second = Process::start(server.command(&wait));
        second.wait_for("place 2");
        let third = Process::start(server.command(&wait));
        third.wait_for("place 3");

        let text = server.say(&["why", "jobs/nightly"]);
        let place = |process: &Process| text.find(&format!("(pid {} on ", process.child.id()));
        let places = [&holder, &second, &third].map(place);
        assert!(places.is_sorted() && places[0].is_some(), "{text}");
        assert!(
            text.starts_with("lock jobs/nightly is held by handfast (pid "),
            "{text}"
        );
        assert!(
            text.contains("TTL left  ") && text.contains(" of 10s"),
            "{text}"
        );
        assert!(text.contains("lock break jobs/nightly"), "{text}");

        let answer = &server.json(&["why", "jobs/nightly"])[0];
        assert_eq!(answer["queue"][2]["pid"], third.child.id());
        assert!(answer["since_s"].is_u64(), "{answer}");
        assert!(
            answer["answer"].as_str().unwrap().contains("is held by"),
            "{answer}"
        );
    }
}

#[test]
fn elections_and_free_names_have_answers_too() {
    let server = Server::handfast();
    let said = server.say(&["why", "boss"]);
    assert!(said.starts_with("nobody holds or waits for boss"), "{said}");
    let leader = Process::start(server.command(&["elect", "boss", "-v", "n1"]));
    leader.wait_for("token");
    let said = server.say(&["why", "boss"]);
    assert!(
        said.starts_with("election boss is held by handfast"),
        "{said}"
    );
    assert!(said.contains("waiting   0"), "{said}");
}

#[test]
fn a_holder_that_died_is_remembered() {
    let server = Server::handfast();
    let holder = Process::start(server.command(&["lock", "x"]));
    holder.wait_for("token");
    let lease = server.json(&["locks", "x"])[0][0]["queue"][0]["lease"].clone();
    holder.signal("KILL");
    server.say(&["lease", "revoke", lease.as_str().unwrap()]);
    let said = server.say(&["why", "x"]);
    assert!(said.starts_with("nobody holds lock x"), "{said}");
    assert!(said.contains("its last holder died"), "{said}");
}

#[test]
fn trap_04_and_09_keys_that_will_never_go_are_pointed_at() {
    for server in Server::all() {
        let holder = Process::start(server.command(&["lock", "x"]));
        holder.wait_for("token");
        server.say(&["put", "x/config", "in the way of others"]);
        let said = server.say(&["why", "x"]);
        assert!(said.contains("such as x/config"), "{said}");
        // The holder may not even end any more: its key would be gone with its lease.
        holder.signal("STOP");
        let key = server.json(&["locks", "x"])[0][0]["queue"][0]["key"].clone();
        server.say(&["put", key.as_str().unwrap(), ""]);
        let said = server.say(&["why", "x"]);
        assert!(said.contains("is on no lease"), "{said}");
        let answer = &server.json(&["why", "x"])[0];
        assert_eq!(answer["queue"][0]["on_no_lease"], true);
        holder.signal("CONT");
    }
}

#[test]
fn a_queue_that_stands_still_says_why() {
    let server = Server::handfast();
    server.say(&["put", "img/items/1", "x"]);
    server.say(&["put", "img/tickets/1", "{}"]);
    let said = server.say(&["why", "img"]);
    assert!(
        said.starts_with("queue img has items and nobody works on any"),
        "{said}"
    );
    server.say(&["put", "img/control", "pause"]);
    let said = server.say(&["why", "img"]);
    assert!(said.starts_with("queue img is paused"), "{said}");
    assert_eq!(server.json(&["why", "img"])[0]["items"], 1);
}

#[test]
fn names_that_cannot_be_are_refused() {
    let server = Server::handfast();
    for name in ["", "_handfast", "_handfast/own/x"] {
        let said = server.run(&["why", name]);
        assert_eq!(said.code, Some(2), "{name}: {said:?}");
    }
}
