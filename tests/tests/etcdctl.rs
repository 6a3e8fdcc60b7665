//! Debian's `etcdctl` must print the same on handfast as on etcd.

use handfast_tests::{
    Result,
    harness::{Etcdctl, Output, Running, Server, Subject},
    masked::masked,
};
use rustix::process::Signal;

/// Commands with their input, played in this order to both servers.
const SCRIPT: &[(&[&str], &str)] = &[
    (&["put", "greeting", "hello"], ""),
    (&["put", "greeting", "hello again", "--prev-kv"], ""),
    (&["put", "from/stdin"], "a value from standard input"),
    (&["put", "new", "--ignore-value"], ""),
    (&["put", "greeting", "--ignore-value"], ""),
    (&["put", "greeting", "x", "--lease", "12345"], ""),
    (&["put", "", "no key"], ""),
    (&["put", "a/1", "one"], ""),
    (&["put", "a/2", "two"], ""),
    (&["put", "a/3", "three"], ""),
    (&["put", "b", "-- with dashes"], ""),
    (&["get", "greeting"], ""),
    (&["get", "nothing"], ""),
    (&["get", "a/", "--prefix"], ""),
    (&["get", "a/", "--prefix", "--keys-only"], ""),
    (&["get", "a/", "--prefix", "--print-value-only"], ""),
    (&["get", "a/", "--prefix", "--limit", "2"], ""),
    (
        &[
            "get",
            "a/",
            "--prefix",
            "--order",
            "DESCEND",
            "--sort-by",
            "KEY",
        ],
        "",
    ),
    (
        &[
            "get",
            "a/",
            "--prefix",
            "--order",
            "ASCEND",
            "--sort-by",
            "MODIFY",
        ],
        "",
    ),
    (&["get", "", "--prefix"], ""),
    (&["get", "a/2", "--from-key"], ""),
    (&["get", "a/1", "a/3"], ""),
    (&["get", "a/", "--prefix", "--rev", "5"], ""),
    (&["get", "a/", "--prefix", "--rev", "5000"], ""),
    (&["get", "a/", "--prefix", "--consistency", "s"], ""),
    (&["get", "a/", "--prefix", "-w", "json"], ""),
    (&["get", "a/1", "-w", "fields"], ""),
    (&["get", "greeting", "--hex"], ""),
    (&["get", "a/", "--prefix", "-w", "table"], ""),
    (&["del", "a/1"], ""),
    (&["del", "a/1"], ""),
    (&["del", "a/", "--prefix", "--prev-kv"], ""),
    (&["del", "b", "-w", "json"], ""),
    (
        &["txn"],
        "value(\"greeting\") = \"hello again\"\n\nput greeting won\nget greeting\n\n\n",
    ),
    (
        &["txn"],
        "create(\"none\") > \"0\"\n\nput none 1\n\nget greeting\ndel none\n\n",
    ),
    (
        &["txn"],
        "mod(\"greeting\") > \"1\"\nversion(\"none\") = \"0\"\n\nput k \"v w\"\n\n\n",
    ),
    (
        &["txn", "-i"],
        "version(\"greeting\") > \"0\"\n\nget greeting\n\nget none\n\n",
    ),
    (
        &["txn", "-w", "json"],
        "version(\"greeting\") > \"9\"\n\nget greeting\n\n\n",
    ),
    (&["txn"], "\nput twice 1\nput twice 2\n\n\n"),
    (&["compaction", "4"], ""),
    (&["compaction", "4"], ""),
    (&["compaction", "4000"], ""),
    (&["get", "a/", "--prefix", "--rev", "2"], ""),
    (&["compaction", "6", "--physical"], ""),
    (&["lease", "grant", "0"], ""),
    (&["lease", "grant", "9000000001"], ""),
    (&["lease", "revoke", "1234"], ""),
    (&["lease", "timetolive", "1234"], ""),
    (&["lease", "keep-alive", "--once", "1234"], ""),
    (&["member", "list"], ""),
    (&["member", "list", "-w", "json"], ""),
    (&["member", "list", "-w", "table"], ""),
    (&["endpoint", "health"], ""),
    (&["endpoint", "health", "-w", "json"], ""),
    (&["endpoint", "health", "--cluster"], ""),
    (&["get"], ""),
    (&["lock", "jobs", "echo", "held"], ""),
    (&["lock", "jobs", "false"], ""),
    (&["get", "jobs", "--prefix"], ""),
];

struct Pair {
    ours: Server,
    theirs: Server,
}

impl Pair {
    async fn start() -> Result<Self> {
        let starting = (
            Server::start(Subject::under_test()),
            Server::start(Subject::Etcd),
        );
        let (ours, theirs) = tokio::join!(starting.0, starting.1);
        Ok(Self {
            ours: ours?,
            theirs: theirs?,
        })
    }

    fn both(&self) -> [&Server; 2] {
        [&self.ours, &self.theirs]
    }

    /// Does the same with both servers; what `act` prints must be equal after masking.
    fn same(&self, what: &str, act: impl Fn(&Etcdctl) -> Result<Vec<String>>) -> Result<()> {
        let mut printed = Vec::new();
        for server in self.both() {
            let lines = act(&Etcdctl::new(server.address()));
            let lines = lines.map_err(|error| format!("{what} on {server:?}: {error}"))?;
            printed.push(mask(server, &lines.join("\n")));
        }
        let (theirs, ours) = (printed.pop(), printed.pop());
        if ours == theirs {
            return Ok(());
        }
        let text = |it: Option<String>| it.unwrap_or_default();
        Err(format!(
            "{what}\n--- ours\n{}\n--- etcd\n{}",
            text(ours),
            text(theirs)
        )
        .into())
    }
}

fn mask(server: &Server, text: &str) -> String {
    let peer = server.peer_url();
    masked(text, &[(&server.address(), "<server>"), (&peer, "<peer>")])
}

fn outcome(output: Output) -> Vec<String> {
    // Beside its message the client may log the same in JSON, with times and ids of its own.
    let complaints = output
        .stderr
        .lines()
        .filter(|line| !line.starts_with("{\"level\""));
    let complaints: Vec<&str> = complaints.collect();
    vec![
        output.stdout,
        complaints.join("\n"),
        format!("exit code {}", output.code),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_print_what_they_print_on_etcd() -> Result<()> {
    let pair = Pair::start().await?;
    let mut failures = Vec::new();
    for (arguments, input) in SCRIPT {
        let what = format!("etcdctl {}", arguments.join(" "));
        let compared = pair.same(&what, |etcdctl| Ok(outcome(etcdctl.run(arguments, input)?)));
        failures.extend(compared.err().map(|error| error.to_string()));
    }
    assert!(
        failures.is_empty(),
        "{} differ:\n{}",
        failures.len(),
        failures.join("\n\n")
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_status_of_an_endpoint_has_the_same_shape() -> Result<()> {
    let pair = Pair::start().await?;
    for server in pair.both() {
        let etcdctl = Etcdctl::new(server.address());
        let line = etcdctl.ok(&["endpoint", "status"])?;
        let fields: Vec<&str> = line.trim().split(", ").map(str::trim).collect();
        assert_eq!(fields.len(), 9, "{line}");
        assert_eq!(fields[0], server.address(), "{line}");
        assert!(
            u64::from_str_radix(fields[1], 16).is_ok_and(|id| id > 0),
            "{line}"
        );
        assert!(fields[2].split('.').count() >= 3, "a version: {line}");
        assert!(
            fields[3].ends_with("kB") || fields[3].ends_with("MB"),
            "a size: {line}"
        );
        assert_eq!(
            (fields[4], fields[5]),
            ("true", "false"),
            "leader, no learner: {line}"
        );
        let numbers = &fields[6..9];
        assert!(
            numbers
                .iter()
                .all(|it| it.trim_end_matches(',').parse::<u64>().is_ok()),
            "{line}"
        );
        let table = etcdctl.ok(&["endpoint", "status", "-w", "table"])?;
        assert!(table.contains("IS LEADER"), "{table}");
        etcdctl.ok(&["endpoint", "status", "-w", "json"])?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leases_live_and_take_their_keys_with_them() -> Result<()> {
    let pair = Pair::start().await?;
    pair.same("a lease with two keys", |etcdctl| {
        let granted = etcdctl.ok(&["lease", "grant", "600"])?;
        let id = granted
            .split(' ')
            .nth(1)
            .ok_or("no id in the answer")?
            .to_owned();
        let mut printed = vec![granted];
        printed.push(etcdctl.ok(&["put", "k1", "v", "--lease", &id])?);
        printed.push(etcdctl.ok(&["put", "k2", "v", "--lease", &id])?);
        printed.push(etcdctl.ok(&["lease", "keep-alive", "--once", &id])?);
        printed.push(etcdctl.ok(&["lease", "list"])?);
        let left = etcdctl.ok(&["lease", "timetolive", &id, "--keys"])?;
        // The keys come in no fixed order, and a second may pass.
        printed.push(
            left.replace("[k2 k1]", "[k1 k2]")
                .replace("(599s)", "(600s)"),
        );
        printed.push(etcdctl.ok(&["lease", "revoke", &id])?);
        printed.extend(outcome(etcdctl.run(&["lease", "timetolive", &id], "")?));
        printed.push(etcdctl.ok(&["get", "k", "--prefix"])?);
        Ok(printed)
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watches_print_history_and_news() -> Result<()> {
    let pair = Pair::start().await?;
    pair.same("watches", |etcdctl| {
        etcdctl.ok(&["put", "w/1", "old"])?;
        etcdctl.ok(&["put", "w/1", "older"])?;
        etcdctl.ok(&["del", "w/1"])?;
        let mut plain = etcdctl.start(&["watch", "w/", "--prefix", "--rev", "2"])?;
        let mut with_previous = etcdctl.start(&["watch", "w/1", "--rev", "2", "--prev-kv"])?;
        let mut printed = plain.lines(9)?;
        printed.extend(with_previous.lines(13)?);
        // Both have caught up, so what follows is live.
        etcdctl.ok(&["put", "w/1", "new"])?;
        printed.extend(plain.lines(3)?);
        printed.extend(with_previous.lines(3)?);
        etcdctl.ok(&["del", "w/", "--prefix"])?;
        printed.extend(plain.lines(3)?);
        printed.extend(with_previous.lines(5)?);
        let mut json = etcdctl.start(&["watch", "w/1", "--rev", "2", "-w", "json"])?;
        // How many events share a response is not fixed, but the first event is.
        let first = json.line()?;
        assert!(first.contains("\"Events\":[{\"kv\":{"), "{first}");
        etcdctl.ok(&["compaction", "5"])?;
        printed.extend(outcome(etcdctl.run(&["watch", "w/1", "--rev", "2"], "")?));
        Ok(printed)
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_is_handed_over_in_order() -> Result<()> {
    let pair = Pair::start().await?;
    pair.same("lock", |etcdctl| {
        let mut first = etcdctl.start(&["lock", "jobs"])?;
        let mut printed = vec![first.line()?];
        let mut second = etcdctl.start(&["lock", "jobs"])?;
        wait_for_keys(etcdctl, "jobs/", 2)?;
        let mut third = etcdctl.start(&["lock", "jobs"])?;
        wait_for_keys(etcdctl, "jobs/", 3)?;
        assert_eq!(
            (second.printed(), third.printed()),
            (None, None),
            "one holder at a time"
        );
        let queue = etcdctl.ok(&[
            "get",
            "jobs/",
            "--prefix",
            "--sort-by",
            "CREATE",
            "--keys-only",
        ])?;
        let queue: Vec<&str> = queue.split_whitespace().collect();
        printed.push(format!("released with {}", stop(&mut first)?));
        let holder = second.line()?;
        assert_eq!(holder, queue[1], "the second in the queue is next");
        // A crash of the holder frees the lock only with its lease, a release at once.
        printed.push(format!("released with {}", stop(&mut second)?));
        assert_eq!(third.line()?, queue[2]);
        printed.push(holder);
        printed.push(format!("released with {}", stop(&mut third)?));
        wait_for_keys(etcdctl, "jobs/", 0)?;
        Ok(printed)
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_election_has_one_leader_and_is_observed() -> Result<()> {
    let pair = Pair::start().await?;
    pair.same("elect", |etcdctl| {
        let mut first = etcdctl.start(&["elect", "chair", "anna"])?;
        let mut printed = first.lines(2)?;
        let mut observer = etcdctl.start(&["elect", "--listen", "chair"])?;
        printed.extend(observer.lines(2)?);
        let mut second = etcdctl.start(&["elect", "chair", "bert"])?;
        wait_for_keys(etcdctl, "chair/", 2)?;
        assert_eq!(second.printed(), None, "one leader at a time");
        printed.push(format!("resigned with {}", stop(&mut first)?));
        printed.extend(second.lines(2)?);
        printed.extend(observer.lines(2)?);
        printed.push(format!("resigned with {}", stop(&mut second)?));
        Ok(printed)
    })
}

/// Ctrl-C, and the exit code.
fn stop(running: &mut Running) -> Result<i32> {
    running.signal(Signal::INT)?;
    running.wait()
}

/// Waits until there are `count` keys under `prefix`.
fn wait_for_keys(etcdctl: &Etcdctl, prefix: &str, count: usize) -> Result<()> {
    for _ in 0..300 {
        let keys = etcdctl.ok(&["get", prefix, "--prefix", "--keys-only"])?;
        if keys.split_whitespace().count() == count {
            return Ok(());
        }
    }
    Err(format!("there are never {count} keys under {prefix}").into())
}
