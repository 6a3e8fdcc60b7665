//! `handfast serve` as a process: start, stop, restart, and every way a start can fail.

#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use support::{HANDFAST, Process, Said, Server, free_port, handfast, is_listening, run, serve};

/// One clear sentence on standard error, the given exit code, nothing on standard output.
fn assert_refused(said: &Said, code: i32, words: &[&str]) {
    assert_eq!(said.code, Some(code), "{said:?}");
    assert_eq!(said.out, "", "{said:?}");
    let sentence: Vec<&str> = said
        .err
        .lines()
        .filter(|line| line.starts_with("handfast: "))
        .collect();
    assert_eq!(sentence.len(), 1, "{said:?}");
    for word in words {
        assert!(sentence[0].contains(word), "no `{word}` in {said:?}");
    }
}

#[test]
fn keeps_its_data_over_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let address = format!("127.0.0.1:{}", free_port());
    let put = ["--endpoints", &address, "put", "greeting", "hello"];
    let get = ["--endpoints", &address, "get", "greeting"];

    let mut first = Process::start(serve(&address, &data));
    first.wait_for("ready to serve client requests");
    assert_eq!(run(&put).out, "OK\n");
    first.signal("TERM");
    assert_eq!(first.end(), Some(0));
    assert!(!is_listening(&address));

    let mut second = Process::start(serve(&address, &data));
    second.wait_for("ready to serve client requests");
    assert_eq!(run(&get).out, "greeting\nhello\n");
    second.signal("INT");
    assert_eq!(second.end(), Some(0));
}

#[test]
fn tells_a_person_where_it_is_and_what_to_try() {
    let dir = tempfile::tempdir().unwrap();
    let address = format!("127.0.0.1:{}", free_port());
    let process = Process::start(serve(&address, &dir.path().join("data")));
    let lines = process.wait_for("stop with").join("\n");
    for word in [&*address, "data is kept in", "put greeting hello"] {
        assert!(lines.contains(word), "no `{word}` in {lines}");
    }
}

#[test]
fn logs_json_when_asked_and_then_greets_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let address = format!("127.0.0.1:{}", free_port());
    let mut command = serve(&address, &dir.path().join("data"));
    command.args(["--log-format", "json"]);
    let mut process = Process::start(command);
    let mut lines = process.wait_for("ready to serve client requests");
    process.signal("TERM");
    assert_eq!(process.end(), Some(0));
    lines.extend(process.rest());
    for line in lines {
        let parsed: serde_json::Value = serde_json::from_str(&line).expect(&line);
        assert!(parsed["message"].is_string(), "{line}");
    }
}

#[test]
fn under_the_name_etcd_it_serves_and_takes_etcds_flags() {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("http://127.0.0.1:{}", free_port());
    let mut command = Command::new(HANDFAST);
    command
        .arg0("/usr/bin/etcd")
        .current_dir(dir.path())
        .args([
            "-name",
            "n1",
            "--listen-client-urls",
            &url,
            "--advertise-client-urls",
            &url,
        ])
        .args(["--max-wals", "5", "--enable-v2=false"]);
    let mut process = Process::start(command);
    let lines = process.wait_for("ready to serve client requests");
    assert!(
        lines
            .iter()
            .any(|line| line.contains("--max-wals has no effect")),
        "{lines:?}"
    );
    assert!(dir.path().join("n1.etcd").is_dir());
    process.signal("TERM");
    assert_eq!(process.end(), Some(0));
    assert!(
        !process
            .rest()
            .iter()
            .any(|line| line.contains("try in another shell"))
    );
}

#[test]
fn variables_are_read_like_etcds() {
    let dir = tempfile::tempdir().unwrap();
    let address = format!("127.0.0.1:{}", free_port());
    let mut command = handfast(&["serve", "--listen", &address]);
    command
        .env("ETCD_DATA_DIR", dir.path().join("from-env"))
        .env("ETCD_NO_SUCH", "1");
    let process = Process::start(command);
    let lines = process.wait_for("ready to serve client requests");
    assert!(
        lines.iter().any(|line| line.contains("ETCD_NO_SUCH")),
        "{lines:?}"
    );
    assert!(dir.path().join("from-env").is_dir());
}

#[test]
fn port_in_use() {
    let server = Server::handfast();
    let dir = tempfile::tempdir().unwrap();
    let said = serve(&server.endpoint, &dir.path().join("data"))
        .output()
        .unwrap()
        .into();
    assert_refused(&said, 1, &[&server.endpoint, "another server"]);
}

#[test]
fn data_dir_in_use() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let first = Process::start(serve(&format!("127.0.0.1:{}", free_port()), &data));
    first.wait_for("ready to serve client requests");
    let said = serve(&format!("127.0.0.1:{}", free_port()), &data)
        .output()
        .unwrap()
        .into();
    assert_refused(&said, 1, &["data", &first.child.id().to_string()]);
}

#[test]
fn foreign_data_dir() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("letter.txt"), "dear").unwrap();
    let address = format!("127.0.0.1:{}", free_port());
    let said = serve(&address, dir.path()).output().unwrap().into();
    assert_refused(&said, 1, &[dir.path().to_str().unwrap()]);
}

#[test]
fn data_dir_that_cannot_be_made() {
    let dir = tempfile::tempdir().unwrap();
    // A file where a folder has to be: refused for root as well.
    fs::write(dir.path().join("file"), "").unwrap();
    let address = format!("127.0.0.1:{}", free_port());
    let said = serve(&address, &dir.path().join("file/data"))
        .output()
        .unwrap()
        .into();
    assert_refused(&said, 1, &["file/data"]);
}

#[test]
fn data_dir_that_cannot_be_written() {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o500)).unwrap();
    if fs::write(dir.path().join("probe"), "").is_ok() {
        eprintln!("skipped: this user may write everywhere");
        return;
    }
    let address = format!("127.0.0.1:{}", free_port());
    let said = serve(&address, &dir.path().join("data"))
        .output()
        .unwrap()
        .into();
    assert_refused(&said, 1, &[dir.path().to_str().unwrap()]);
}

#[test]
fn values_out_of_range() {
    let cases: [(&[&str], &[&str]); 6] = [
        (
            &["--heartbeat-interval", "300"],
            &["--election-timeout", "--heartbeat-interval"],
        ),
        (&["--max-txn-ops", "many"], &["--max-txn-ops", "many"]),
        (
            &["--listen", "example.org:1"],
            &["example.org", "IP address"],
        ),
        (
            &["--listen-client-urls", "http://127.0.0.1:1"],
            &["--advertise-client-urls"],
        ),
        (&["--cert-file", "a.pem"], &["--cert-file", "TLS"]),
        (
            &["--config-file", "/no/such/file.toml"],
            &["/no/such/file.toml"],
        ),
    ];
    for (flags, words) in cases {
        assert_refused(&run(&[&["serve"], flags].concat()), 1, words);
    }
}

#[test]
fn flag_and_variable_for_one_setting() {
    let mut command = handfast(&["serve", "--name", "a"]);
    let said = command.env("ETCD_NAME", "a").output().unwrap().into();
    assert_refused(&said, 1, &["--name", "ETCD_NAME"]);
}

#[test]
fn unknown_flag_is_a_usage_error_with_a_suggestion() {
    let said = run(&["serve", "--data-dri", "x"]);
    assert_eq!(said.code, Some(2), "{said:?}");
    assert!(said.err.contains("--data-dir"), "{said:?}");
}

#[test]
fn help_is_grouped_and_complete() {
    let said = run(&["serve", "--help"]);
    assert_eq!(said.code, Some(0));
    for word in [
        "Basics:",
        "Timing:",
        "--max-request-bytes",
        "--backend-batch-limit",
    ] {
        assert!(said.out.contains(word), "no `{word}` in the help");
    }
}

#[test]
fn a_configuration_file_replaces_flags() {
    let dir = tempfile::tempdir().unwrap();
    let (address, data) = (
        format!("127.0.0.1:{}", free_port()),
        dir.path().join("data"),
    );
    let file = dir.path().join("handfast.toml");
    let text = format!(
        "listen = \"{address}\"\ndata-dir = \"{}\"\n",
        data.display()
    );
    fs::write(&file, text).unwrap();
    let mut command = handfast(&["serve", "--ephemeral", "--config-file"]);
    command.arg(&file);
    let process = Process::start(command);
    process.wait_for("ready to serve client requests");
    assert!(data.is_dir() && is_listening(&address));
    fs::write(&file, "data-dri = \"x\"\n").unwrap();
    let said = run(&["serve", "--config-file", file.to_str().unwrap()]);
    assert_refused(&said, 1, &["handfast.toml", "data-dir"]);
}

#[test]
fn a_service_manager_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify");
    let manager = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(support::PATIENCE)).unwrap();
    let mut command = handfast(&["serve", "--ephemeral", "--listen"]);
    command
        .arg(format!("127.0.0.1:{}", free_port()))
        .env("NOTIFY_SOCKET", &path);
    let mut process = Process::start(command);
    let mut buffer = [0; 64];
    let length = manager.recv(&mut buffer).unwrap();
    assert_eq!(&buffer[..length], b"READY=1");
    process.signal("TERM");
    let length = manager.recv(&mut buffer).unwrap();
    assert_eq!(&buffer[..length], b"STOPPING=1");
    assert_eq!(process.end(), Some(0));
}
