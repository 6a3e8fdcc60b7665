//! `handfast cluster dev`, joining and recovering: whole clusters of handfast as a person has them.

#![allow(clippy::unwrap_used)]

mod support;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use support::cluster::{Cluster, Program};
use support::{PATIENCE, Process, Said, free_port, handfast, is_listening, run};

/// A port with enough free ones behind it for `members`.
fn base_port(members: u16) -> u16 {
    let free = |port: u16| std::net::TcpListener::bind(("127.0.0.1", port)).is_ok();
    loop {
        let port = free_port();
        if port < 60_000 && (port..port + 2 * members).all(free) {
            return port;
        }
    }
}

/// `cluster dev` on ports nobody uses.
struct Dev {
    base: u16,
    process: Process,
}

impl Dev {
    fn start(args: &[&str]) -> Dev {
        let base = base_port(5);
        let port = base.to_string();
        let args = [&["cluster", "dev", "--base-port", &port], args].concat();
        Dev {
            base,
            process: Process::start(handfast(&args)),
        }
    }

    fn endpoint(&self, index: u16) -> String {
        format!("127.0.0.1:{}", self.base + 2 * index)
    }

    fn say(&self, index: u16, args: &[&str]) -> String {
        let endpoint = self.endpoint(index);
        let said = run(&[&["--endpoints", &endpoint], args].concat());
        assert_eq!(said.code, Some(0), "{said:?}");
        said.out
    }

    /// The processes of the members, as the table says them.
    fn members(lines: &[String]) -> Vec<(String, String)> {
        let rows = lines.iter().filter(|line| line.starts_with("  m"));
        rows.map(|row| {
            let cells: Vec<&str> = row.split_whitespace().collect();
            (cells[3].to_owned(), cells[4].to_owned())
        })
        .collect()
    }
}

fn runs(pid: &str) -> bool {
    let path = Path::new("/proc").join(pid).join("stat");
    // A zombie is gone; only nobody has asked for it.
    std::fs::read_to_string(path).is_ok_and(|stat| !stat.contains(") Z "))
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn kill(pid: &str) {
    assert!(
        Command::new("kill")
            .args(["-9", pid])
            .status()
            .unwrap()
            .success()
    );
}

#[test]
fn three_members_are_one_and_end_together() {
    let mut dev = Dev::start(&[]);
    let lines = dev.process.wait_for("stop with");
    let text = lines.join("\n");
    assert!(text.contains("3 members of 3 are ready; m"), "{text}");
    let all = (0..3).map(|index| dev.endpoint(index));
    let all = all.collect::<Vec<_>>().join(",");
    assert!(
        text.contains(&format!("export HANDFAST_ENDPOINTS={all}")),
        "{text}"
    );
    for name in ["m1 │ ", "m2 │ ", "m3 │ "] {
        assert!(lines.iter().any(|line| line.starts_with(name)), "{text}");
    }
    dev.say(0, &["put", "greeting", "hello"]);
    assert_eq!(dev.say(2, &["get", "greeting"]), "greeting\nhello\n");
    let members = Dev::members(&lines);
    assert_eq!(members.len(), 3, "{text}");
    dev.process.signal("INT");
    assert_eq!(dev.process.end(), Some(0));
    for (pid, data) in &members {
        assert!(!runs(pid), "member {pid} is left");
        assert!(!Path::new(data).exists(), "{data} is left");
    }
}

#[test]
fn a_member_that_dies_is_told_and_the_others_go_on() {
    let mut dev = Dev::start(&[]);
    let lines = dev.process.wait_for("stop with");
    kill(&Dev::members(&lines)[1].0);
    let told = dev.process.wait_for("to start it again").join("\n");
    assert!(told.contains("m2 (process"), "{told}");
    assert!(
        told.contains("was ended by signal 9; 2 of 3 members are left"),
        "{told}"
    );
    assert!(told.contains("the last lines of m2:"), "{told}");
    let rest = [dev.endpoint(0), dev.endpoint(2)].join(",");
    wait_until("no writes without m2", || {
        run(&["--endpoints", &rest, "put", "a", "b"]).code == Some(0)
    });
    dev.process.signal("TERM");
    assert_eq!(dev.process.end(), Some(0));
}

#[test]
fn no_member_outlives_a_killed_parent() {
    let mut dev = Dev::start(&[]);
    let lines = dev.process.wait_for("stop with");
    let members = Dev::members(&lines);
    dev.process.signal("KILL");
    assert_eq!(dev.process.end(), None);
    for (pid, data) in &members {
        wait_until("an orphan is left", || !runs(pid));
        let _ = std::fs::remove_dir_all(Path::new(data).parent().unwrap());
    }
}

#[test]
fn with_a_folder_the_cluster_goes_on_later() {
    let dir = tempfile::tempdir().unwrap();
    let lab = dir.path().join("lab");
    let folder = ["--data-dir", lab.to_str().unwrap()];
    let mut dev = Dev::start(&folder);
    dev.process.wait_for("stop with");
    dev.say(1, &["put", "k", "kept"]);
    dev.process.signal("INT");
    assert_eq!(dev.process.end(), Some(0));

    let again = [&["cluster", "dev"], &folder[..]].concat();
    let mut second = Process::start(handfast(&again));
    let lines = second.wait_for("stop with").join("\n");
    assert!(lines.contains("with the same --data-dir"), "{lines}");
    assert_eq!(dev.say(0, &["get", "k"]), "k\nkept\n");
    let busy = run(&["cluster", "dev", "--base-port", &dev.base.to_string()]);
    assert_eq!(busy.code, Some(1), "{busy:?}");
    assert!(busy.err.contains("--base-port"), "{busy:?}");
    second.signal("INT");
    assert_eq!(second.end(), Some(0));
    let other = run(&[&again[..], &["--nodes=5"]].concat());
    assert_eq!(other.code, Some(2), "{other:?}");
}

#[test]
fn members_that_cannot_start_end_it_all() {
    let mut dev = Dev::start(&["--", "--max-txn-ops", "many"]);
    assert_eq!(dev.process.end(), Some(1));
    let lines = dev.process.rest().join("\n");
    assert!(lines.contains("m1 │ handfast: --max-txn-ops"), "{lines}");
    assert!(lines.contains("too few members are left"), "{lines}");
}

#[test]
fn for_programs_it_is_ready_in_one_line() {
    let mut dev = Dev::start(&["--json", "--nodes=1"]);
    let lines = dev.process.wait_for("\"ready\":true");
    let ready: serde_json::Value = serde_json::from_str(lines.last().unwrap()).unwrap();
    assert_eq!(ready["leader"], "m1");
    let endpoint = ready["members"][0]["endpoint"].as_str().unwrap();
    assert_eq!(endpoint, format!("http://{}", dev.endpoint(0)));
    dev.process.signal("INT");
    assert_eq!(dev.process.end(), Some(0));
}

/// The token of a running member.
fn token(data_dir: &Path) -> String {
    let args = ["cluster", "token", "--data-dir", data_dir.to_str().unwrap()];
    let mut said: Option<Said> = None;
    wait_until("no join token", || {
        said = Some(run(&args));
        said.as_ref().unwrap().code == Some(0)
    });
    said.unwrap().out.trim().to_owned()
}

#[test]
fn a_member_joins_by_itself_and_leaves_for_good() {
    let mut cluster = Cluster::of_three(Program::Handfast);
    cluster.say(&["put", "k", "v"]);
    let token = token(&cluster.members[0].data);
    let mut new = cluster.plan("n4");
    let address = cluster.members[1].peer_url.replace("http://", "");
    let command = |new: &support::cluster::Member, token: &str| {
        let mut command = new.command(Program::Handfast, &["--join", &address]);
        command.env("HANDFAST_JOIN_TOKEN", token);
        command
    };
    let wrong = format!("{}{}", &token[..17], "0".repeat(32));
    let said: Said = command(&new, &wrong).output().unwrap().into();
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(
        said.err.contains("token") && !said.err.contains(&wrong),
        "{said:?}"
    );

    new.process = Some(Process::start(command(&new, &token)));
    let greeting = new
        .process
        .as_ref()
        .unwrap()
        .wait_for("stop with")
        .join("\n");
    let own = new.peer_url.replace("http://", "");
    assert!(
        greeting.contains(&format!("handfast serve --join {own} ")),
        "{greeting}"
    );
    wait_until("n4 is not promoted", || {
        let members = cluster.json(&["member", "list"]);
        let n4 = members
            .as_array()
            .unwrap()
            .iter()
            .find(|m| m["name"] == "n4")
            .cloned();
        n4.is_some_and(|member| member["status"] == "started")
    });
    let local = ["--endpoints", &new.endpoint.clone(), "get", "k"];
    assert_eq!(cluster.say(&local), "k\nv\n");
    cluster.members.push(new);
    assert!(
        cluster
            .say_in_the_end(&["hashkv"])
            .contains("all 4 members that answered")
    );

    cluster.say(&["member", "remove", "n4"]);
    let mut gone = cluster.members.pop().unwrap();
    let mut process = gone.process.take().unwrap();
    assert_eq!(process.end(), Some(1));
    let lines = process.rest().join("\n");
    assert!(lines.contains("removed"), "{lines}");
    let said: Said = command(&gone, &token).output().unwrap().into();
    assert_eq!(said.code, Some(1), "it came back: {said:?}");
    assert!(said.err.contains("removed"), "{said:?}");
}

#[test]
fn a_dead_member_is_replaced() {
    let mut cluster = Cluster::of_three(Program::Handfast);
    cluster.say(&["put", "k", "v"]);
    cluster.members[2].kill();
    std::fs::remove_dir_all(&cluster.members[2].data).unwrap();
    let mut new = cluster.plan("n3");
    let peer_url = new.peer_url.clone();
    let replace = ["member", "replace", "n3", &peer_url];
    let running = Process::start(cluster.command(&replace));
    let said = running.wait_for("ETCD_INITIAL_CLUSTER_STATE");
    let list = said
        .iter()
        .find_map(|line| line.strip_prefix("ETCD_INITIAL_CLUSTER="));
    let list = list.unwrap().trim_matches('"').to_owned();
    let flags = [
        "--initial-cluster",
        &list,
        "--initial-cluster-state=existing",
    ];
    new.process = Some(Process::start(new.command(Program::Handfast, &flags)));
    running.wait_for("is in its place");
    cluster.members[2] = new;
    let local = [
        "--endpoints",
        &cluster.members[2].endpoint.clone(),
        "get",
        "k",
    ];
    assert_eq!(cluster.say_in_the_end(&local), "k\nv\n");
    assert_eq!(
        cluster.json(&["member", "list"]).as_array().unwrap().len(),
        3
    );
}

#[test]
fn one_survivor_is_enough_to_go_on() {
    let mut cluster = Cluster::of_three(Program::Handfast);
    cluster.say(&["put", "k", "v"]);
    let data = cluster.members[0].data.to_str().unwrap().to_owned();
    let recover = ["cluster", "recover", "--data-dir", &data];
    let running = run(&[&recover[..], &["--i-accept-data-loss"]].concat());
    assert_eq!(running.code, Some(1), "a member that runs: {running:?}");
    for member in &mut cluster.members {
        member.kill();
    }
    for lost in &cluster.members[1..] {
        std::fs::remove_dir_all(&lost.data).unwrap();
    }
    let looked = run(&recover);
    assert_eq!(looked.code, Some(2), "{looked:?}");
    assert!(looked.err.contains("nothing was changed"), "{looked:?}");
    for word in ["n1", "n2", "n3", "log position", "What is lost"] {
        assert!(looked.out.contains(word), "no `{word}` in {looked:?}");
    }
    let done = run(&[&recover[..], &["--i-accept-data-loss"]].concat());
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(done.out.contains("is a cluster of one now"), "{done:?}");
    assert!(
        done.out.contains("handfast cluster token --data-dir"),
        "{done:?}"
    );

    cluster.members.truncate(1);
    cluster.start(0, &[]);
    cluster.members[0].wait_until_ready();
    cluster.wait_for_writes();
    assert_eq!(cluster.say(&["get", "k"]), "k\nv\n");
    let pair = cluster.json(&["get", "k"]);
    assert_eq!(
        cluster.json(&["member", "list"]).as_array().unwrap().len(),
        1
    );
    let status = cluster.json(&["status"]);
    assert!(
        status[0]["revision"].as_i64().unwrap() > 1_000_000_000,
        "{status} {pair}"
    );
    // What was watched before must be read anew.
    let watch = cluster.refused(&["watch", "k", "--rev=2"]);
    assert!(watch.contains("compacted away"), "{watch}");
    // New members are let in.
    let token = token(&cluster.members[0].data);
    let mut new = cluster.plan("n2");
    let address = cluster.members[0].peer_url.replace("http://", "");
    let mut command = new.command(Program::Handfast, &["--join", &address]);
    command.env("HANDFAST_JOIN_TOKEN", token);
    new.process = Some(Process::start(command));
    new.wait_until_ready();
    let local = ["--endpoints", &new.endpoint.clone(), "get", "k"];
    assert_eq!(cluster.say_in_the_end(&local), "k\nv\n");
    assert!(is_listening(&new.endpoint));
}
