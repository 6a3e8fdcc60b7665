//! `handfast config` as processes, against handfast and etcd.

#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use support::{Process, Said, Server};

fn path(dir: &tempfile::TempDir, name: &str, text: &str) -> String {
    let path = dir.path().join(name);
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

fn revision(said: &serde_json::Value) -> String {
    said["revision"].as_i64().unwrap().to_string()
}

/// Publishes a text; its revision.
fn set(server: &Server, dir: &tempfile::TempDir, key: &str, text: &str) -> String {
    let file = path(dir, "value", text);
    revision(&server.json(&["config", "set", key, &file])[0])
}

fn with_editor(mut command: Command, editor: &str) -> Said {
    command.env("EDITOR", editor).output().unwrap().into()
}

#[test]
fn what_is_published_can_be_read_compared_and_brought_back() {
    for server in Server::all() {
        let dir = tempfile::tempdir().unwrap();
        let missing = server.run(&["config", "get", "app/cfg"]);
        assert_eq!(missing.code, Some(1));
        assert!(missing.err.contains("nothing is published at app/cfg"));

        let first = set(&server, &dir, "app/cfg", "a\nb\nc\n");
        let file = path(&dir, "value", "a\nB\nc\n");
        server.say(&["config", "set", "app/cfg", &file, "--note", "louder"]);
        assert_eq!(server.say(&["config", "get", "app/cfg"]), "a\nB\nc\n");
        let old = server.say(&["config", "get", "app/cfg", "--rev", &first]);
        assert_eq!(old, "a\nb\nc\n");

        let diff = server.say(&["config", "diff", "app/cfg", &first]);
        let lines: Vec<&str> = diff.lines().collect();
        assert_eq!(lines[3..], [" a", "-b", "+B", " c"], "{diff}");

        let history = server.json(&["config", "history", "app/cfg"]);
        let notes: Vec<&str> = history
            .iter()
            .map(|it| it["note"].as_str().unwrap())
            .collect();
        assert_eq!(notes, ["louder", ""]);
        assert!(history[0]["by"].as_str().unwrap().contains("pid"));
        assert_eq!(revision(&history[1]), first);

        server.say(&["config", "rollback", "app/cfg", &first]);
        assert_eq!(server.say(&["config", "get", "app/cfg"]), "a\nb\nc\n");
        let again = server.run(&["config", "rollback", "app/cfg", &first]);
        assert!(again.out.is_empty() && again.err.contains("it is what it was"));
        let table = server.say(&["config", "history", "app/cfg"]);
        assert!(
            table.contains(&format!("rollback to revision {first}")),
            "{table}"
        );
        assert_eq!(table.lines().count(), 4, "{table}");
    }
}

#[test]
fn a_directory_is_published_as_one_and_rolled_back_as_one() {
    for server in Server::all() {
        let dir = tempfile::tempdir().unwrap();
        path(&dir, "db", "\"x:1\"");
        path(&dir, "log", "\"info\"");
        path(&dir, ".hidden", "no");
        let conf = dir.path().to_str().unwrap();
        let first = server.json(&["config", "set", "app/", conf]);
        let said = server.json(&["config", "get", "app/"]);
        let names: Vec<&str> = said.iter().map(|it| it["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["db", "log"]);
        let pair = server.json(&["get", "app/", "--prefix"]).to_vec();
        let text = serde_json::to_string(&pair).unwrap();
        let at = format!("\"mod_revision\":{}", revision(&first[0]));
        assert_eq!(text.matches(&at).count(), 2, "{text}");

        fs::remove_file(dir.path().join("log")).unwrap();
        path(&dir, "db", "\"x:2\"");
        server.say(&["config", "set", "app/", conf, "--delete"]);
        assert_eq!(
            server.say(&["config", "get", "app/"]),
            "# app/db\n\"x:2\"\n"
        );
        // The deletion is part of the history.
        assert_eq!(server.json(&["config", "history", "app/"]).len(), 2);
        server.say(&["config", "rollback", "app/", &revision(&first[0])]);
        assert_eq!(server.json(&["config", "get", "app/"]).len(), 2);
        assert_eq!(server.run(&["config", "set", "app/", "-"]).code, Some(2));
    }
}

#[test]
fn nobody_publishes_over_what_he_has_not_seen() {
    let server = Server::handfast();
    let dir = tempfile::tempdir().unwrap();
    let first = set(&server, &dir, "k", "1");
    let second = set(&server, &dir, "k", "2");
    let file = path(&dir, "value", "3");
    let stale = server.run(&["config", "set", "k", &file, "--if-revision", &first]);
    assert_eq!(stale.code, Some(1));
    assert!(
        stale.err.contains(&format!("k at revision {second}")),
        "{stale:?}"
    );
    assert!(stale.err.contains("pid"), "who it was: {stale:?}");
    let seen = server.run(&["config", "set", "k", &file, "--if-revision", &second]);
    assert_eq!(seen.code, Some(0), "{seen:?}");
    // What was read says on top of what it can be published.
    let read = revision(&server.json(&["config", "get", "k"])[0]);
    let args = ["config", "set", "k", &file, "--if-revision", &read];
    assert_eq!(
        [server.run(&args).code, server.run(&args).code],
        [Some(0), Some(1)]
    );
    let fresh = server.run(&["config", "set", "k", &file, "--if-revision", "0"]);
    assert_eq!(fresh.code, Some(1));
}

#[test]
fn an_editor_changes_it_and_loses_nothing_when_somebody_was_faster() {
    let server = Server::handfast();
    let dir = tempfile::tempdir().unwrap();
    set(&server, &dir, "app/cfg.json", "one\n");
    let edit = || server.command(&["config", "edit", "app/cfg.json"]);
    let said = with_editor(edit(), "sed -i s/one/two/");
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(server.say(&["config", "get", "app/cfg.json"]), "two\n");
    let said = with_editor(edit(), "true");
    assert!(said.out.is_empty() && said.err.contains("nothing was changed"));

    // Somebody else publishes while the editor is open.
    let script = dir.path().join("editor");
    let other = format!(
        "#!/bin/sh\n{} --endpoints {} put app/cfg.json other\necho mine >$1\n",
        support::HANDFAST,
        server.endpoint
    );
    fs::write(&script, other).unwrap();
    let said = with_editor(edit(), &format!("sh {}", script.display()));
    assert_eq!(said.code, Some(1), "{said:?}");
    let kept = said.err.split("what you wrote is in ").nth(1).unwrap();
    let kept = Path::new(kept.lines().next().unwrap());
    assert!(kept.to_str().unwrap().ends_with("cfg.json"));
    assert_eq!(fs::read_to_string(kept).unwrap(), "mine\n");
    fs::remove_file(kept).unwrap();
    assert_eq!(server.say(&["config", "get", "app/cfg.json"]), "other\n");
}

#[test]
fn a_check_decides_what_is_published() {
    let server = Server::handfast();
    let dir = tempfile::tempdir().unwrap();
    let file = path(&dir, "value", "good");
    let check = "test $HANDFAST_CONFIG_KEY = k && grep -q good";
    let args = ["config", "set", "k", &file, "--check", check];
    assert_eq!(server.run(&args).code, Some(0));
    path(&dir, "value", "bad");
    let refused = server.run(&args);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert_eq!(server.say(&["config", "get", "k"]), "good\n");
}

#[test]
fn a_compacted_revision_says_so_and_which_is_the_oldest() {
    for server in Server::all() {
        let dir = tempfile::tempdir().unwrap();
        let first = set(&server, &dir, "k", "1");
        let second = set(&server, &dir, "k", "2");
        set(&server, &dir, "k", "3");
        server.say(&["compact", &second]);
        for args in [
            ["config", "rollback", "k", &first],
            ["config", "diff", "k", &first],
        ] {
            let said = server.run(&args);
            assert_eq!(said.code, Some(1), "{said:?}");
            let expected = format!("revision {first} is compacted away");
            assert!(said.err.contains(&expected), "{said:?}");
            assert!(said.err.contains(&format!("is {second}")), "{said:?}");
        }
        let history = server.run(&["config", "history", "k"]);
        assert_eq!(history.code, Some(0));
        assert!(history.err.contains("compacted away"), "{history:?}");
    }
}

#[test]
fn a_watch_prints_what_is_there_and_then_every_change() {
    for server in Server::all() {
        let dir = tempfile::tempdir().unwrap();
        set(&server, &dir, "app/cfg", "one\n");
        let watch = Process::start(server.command(&["config", "watch", "app/cfg"]));
        watch.wait_for("one");
        set(&server, &dir, "app/cfg", "two\n");
        let lines = watch.wait_for("two");
        assert!(lines.iter().any(|line| line.starts_with("revision ")));
        server.say(&["del", "app/cfg"]);
        watch.wait_for("# app/cfg is deleted");
    }
}

#[test]
fn a_command_gets_its_file_and_a_signal_on_a_change() {
    for server in Server::all() {
        let dir = tempfile::tempdir().unwrap();
        set(&server, &dir, "app/cfg", "one\n");
        let file = dir.path().join("current");
        let file = file.to_str().unwrap();
        let script = "trap 'echo reload $(cat $HANDFAST_CONFIG_FILE)' HUP; \
                      echo start $(cat $HANDFAST_CONFIG_FILE); while :; do sleep 0.05; done";
        let args = [
            "config", "run", "app/cfg", "--file", file, "--", "sh", "-c", script,
        ];
        let mut run = Process::start(server.command(&args));
        run.wait_for("start one");
        set(&server, &dir, "app/cfg", "two\n");
        run.wait_for("reload two");
        run.signal("TERM");
        assert_eq!(run.end(), Some(128 + 15));
    }
}

#[test]
fn a_command_with_variables_is_started_again_on_a_change() {
    let server = Server::handfast();
    let dir = tempfile::tempdir().unwrap();
    set(&server, &dir, "app/env", r#"{"db.host": "x", "port": 1}"#);
    let script = "echo db $DB_HOST port $PORT whole $HANDFAST_CONFIG; \
                  test $PORT = 3 && exit 7; while :; do sleep 0.05; done";
    let args = ["config", "run", "app/env", "--", "sh", "-c", script];
    let mut run = Process::start(server.command(&args));
    run.wait_for(r#"db x port 1 whole {"db.host": "x", "port": 1}"#);
    set(&server, &dir, "app/env", r#"{"db.host": "y", "port": 2}"#);
    run.wait_for("db y port 2");
    // What is deleted stays as it was.
    server.say(&["del", "app/env"]);
    run.wait_for("nothing is published");
    set(&server, &dir, "app/env", r#"{"db.host": "y", "port": 3}"#);
    run.wait_for("db y port 3");
    assert_eq!(run.end(), Some(7));
}

#[test]
fn a_command_starts_with_the_last_configuration_when_no_server_answers() {
    let mut server = Server::handfast();
    let dir = tempfile::tempdir().unwrap();
    set(&server, &dir, "app/cfg", "kept");
    let last = dir.path().join("last");
    let last = last.to_str().unwrap();
    let once = [
        "config",
        "run",
        "app/cfg",
        "--snapshot",
        last,
        "--on-change",
        "nothing",
        "--",
        "sh",
        "-c",
    ];
    let script = |script| [&once[..], &[script]].concat();
    let wait = format!("until grep -q kept {last} 2>/dev/null; do sleep 0.05; done");
    assert_eq!(server.run(&script(&wait)).code, Some(0));
    server.process.signal("KILL");
    server.process.end();
    let said = server.run(&script("echo $HANDFAST_CONFIG"));
    assert_eq!(
        (said.code, said.out.as_str()),
        (Some(0), "kept\n"),
        "{said:?}"
    );
    assert!(said.err.contains("last known configuration"), "{said:?}");
    let without = server.run(&["--timeout", "1s", "config", "run", "app/cfg", "--", "true"]);
    assert_eq!(without.code, Some(3), "{without:?}");
}

#[test]
fn what_does_not_differ_or_is_not_there_is_said() {
    for server in Server::all() {
        let dir = tempfile::tempdir().unwrap();
        let first = set(&server, &dir, "app/cfg", "a");
        let says = |args: &[&str], code: i32, text: &str| {
            let said = server.run(&[&["config"], args].concat());
            assert_eq!(said.code, Some(code), "{args:?}: {said:?}");
            assert!(said.err.contains(text), "{args:?}: {said:?}");
            said.out
        };
        let same = format!("no difference: app/cfg is now what it was at revision {first}");
        assert_eq!(says(&["diff", "app/cfg", &first], 0, &same), "");
        says(&["diff", "app/cfg", &first, &first], 0, "is at revision");
        says(&["diff", "nope", &first], 1, "nothing is published at nope");
        says(&["diff", "app/cfg", "99999"], 1, "the latest is ");
        says(
            &["get", "app/cfg", "--rev", "99999"],
            1,
            "no revision 99999 yet",
        );
        says(&["get", "app/cfg", "--rev=-1"], 2, "-1 is not in 0..");
        says(&["get", "app"], 1, "for what is below it write app/");
        says(&["get", ""], 2, "KEY is empty");
        says(&["history", "app/cfg", "--limit", "0"], 2, "--limit");
        says(&["history", "nope"], 1, "nothing is published at nope");
        let unchanged = ["--json", "config", "rollback", "app/cfg", &first];
        assert_eq!(revision(&server.json(&unchanged[1..])[0]), first);
        let run = ["run", "nope", "--", "true"];
        says(
            &run,
            1,
            "nothing is published at nope; `handfast config set nope FILE`",
        );
    }
}

#[test]
fn what_is_to_be_published_may_come_on_standard_input_and_hints_lead_there() {
    let server = Server::handfast();
    let dir = tempfile::tempdir().unwrap();
    let missing = server.run(&["config", "set", "app/cfg"]);
    assert_eq!(missing.code, Some(2), "{missing:?}");
    assert!(missing.err.contains("write - as FILE"), "{missing:?}");
    let value = path(&dir, "value", "piped\n");
    let mut command = server.command(&["config", "set", "app/cfg", "-"]);
    command.stdin(fs::File::open(&value).unwrap());
    command.env("USER", "ann");
    assert!(command.status().unwrap().success());
    assert_eq!(server.say(&["config", "get", "app/cfg"]), "piped\n");
    let history = server.say(&["config", "history", "app/cfg"]);
    assert!(history.contains("ann with handfast"), "{history}");

    let conf = dir.path().to_str().unwrap();
    let one = server.run(&["config", "set", "app/cfg", conf]);
    assert_eq!(one.code, Some(2), "{one:?}");
    assert!(one.err.contains("write app/cfg/ for app/cfg"), "{one:?}");
    let delete = server.run(&["config", "set", "app/", conf, "--delete"]);
    assert!(delete.err.contains("app/cfg is deleted"), "{delete:?}");
}

#[test]
fn an_editor_that_writes_nothing_or_is_not_there_publishes_nothing() {
    let server = Server::handfast();
    let edit = || server.command(&["config", "edit", "new"]);
    let nothing = with_editor(edit(), "true");
    assert!(nothing.err.contains("nothing was changed"), "{nothing:?}");
    let missing = with_editor(edit(), "/no/such/editor");
    assert_eq!(missing.code, Some(1), "{missing:?}");
    assert!(missing.err.contains("set EDITOR"), "{missing:?}");
    assert_eq!(server.run(&["config", "get", "new"]).code, Some(1));
}

#[test]
fn the_snapshot_is_there_when_a_short_command_has_ended() {
    let server = Server::handfast();
    let dir = tempfile::tempdir().unwrap();
    set(&server, &dir, "app/cfg", "kept");
    let snapshot = dir.path().join("snapshot");
    let file = snapshot.to_str().unwrap();
    server.say(&["config", "run", "app/cfg", "--snapshot", file, "--", "true"]);
    assert!(fs::read_to_string(&snapshot).unwrap().contains("app/cfg"));
}
