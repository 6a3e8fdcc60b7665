//! Whether grpc-go's etcd resolver, and etcd's endpoint manager, read what is registered.
//!
//! Needs `go`, and its module proxy or a filled cache for the first build.

use std::{
    path::Path,
    process::{ChildStdout, Command, Stdio},
};

use handfast::{Discovery, Status};
use serde_json::{Value, json};

use crate::{
    server::shared,
    util::{client, connect, name, soon, until},
};

/// The program, built; `None` where there is no Go.
fn program(dir: &Path) -> Option<std::path::PathBuf> {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/go-resolver");
    let program = dir.join("go-resolver");
    let mut build = Command::new("go");
    build.args(["build", "-o"]).arg(&program).arg(".");
    match build.current_dir(source).status() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            eprintln!("left out: there is no go");
            None
        }
        built => {
            assert!(built.unwrap().success(), "the resolver does not build");
            Some(program)
        }
    }
}

/// The next line the program prints.
async fn line(output: ChildStdout) -> (Value, ChildStdout) {
    let read = tokio::task::spawn_blocking(move || {
        use std::io::Read;
        let (mut output, mut line) = (output, Vec::new());
        let mut byte = [0];
        while output.read(&mut byte).unwrap() == 1 && byte[0] != b'\n' {
            line.push(byte[0]);
        }
        (serde_json::from_slice(&line).unwrap(), output)
    });
    soon(read).await.unwrap()
}

#[tokio::test]
async fn a_go_resolver_reads_what_is_registered() {
    let dir = tempfile::tempdir().unwrap();
    let Some(program) = program(dir.path()) else {
        return;
    };
    let (hf, name) = (connect(shared()), name("team/api"));
    let register = hf.service(&name).instance("n1", "10.0.0.5:80").weight(3);
    let one = soon(register.metadata("team", "blue").register())
        .await
        .unwrap();
    let mut go = Command::new(program)
        .args([&shared().endpoint, &name])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (listed, output) = line(go.stdout.take().unwrap()).await;
    let metadata = json!({ "status": "up", "weight": 3, "team": "blue" });
    let expected = json!({ "Addr": "10.0.0.5:80", "Metadata": metadata });
    assert_eq!(listed["listed"][format!("{name}/n1")], expected);
    let (resolved, output) = line(output).await;
    assert_eq!(resolved, json!({ "resolved": ["10.0.0.5:80"] }));
    let two = hf
        .service(&name)
        .instance("n2", "10.0.0.6:80")
        .status(Status::Warming);
    let two = soon(two.register()).await.unwrap();
    let (resolved, output) = line(output).await;
    assert_eq!(
        resolved,
        json!({ "resolved": ["10.0.0.5:80", "10.0.0.6:80"] })
    );
    soon(one.unregister()).await;
    let (resolved, _output) = line(output).await;
    assert_eq!(resolved, json!({ "resolved": ["10.0.0.6:80"] }));
    drop(two);
    go.kill().unwrap();
    go.wait().unwrap();
}

#[tokio::test]
async fn what_go_registers_is_found() {
    let (hf, client, name) = (connect(shared()), client(shared()), name("go"));
    // As etcd's endpoint manager writes it.
    let value = r#"{"Op":0,"Addr":"10.0.0.7:80","Metadata":{"weight":2,"shard":7}}"#;
    client
        .put(format!("{name}/10.0.0.7:80"), value)
        .await
        .unwrap();
    let discovery = soon(hf.discover(&name).open()).await.unwrap();
    let listed = |discovery: &Discovery| discovery.list().instances.first().cloned();
    let found = until(|| async { listed(&discovery) }).await;
    assert_eq!((found.addr.as_str(), found.weight), ("10.0.0.7:80", 2));
    assert_eq!(found.metadata["shard"], "7");
    let drained = soon(
        hf.service(&name)
            .set_status("10.0.0.7:80", Status::Draining),
    )
    .await;
    soon(discovery.at_least(drained.unwrap().unwrap())).await;
    assert_eq!(listed(&discovery).unwrap().status, Status::Draining);
}
