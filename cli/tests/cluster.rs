//! Commands about a whole cluster, against three members of handfast and of etcd.

#![allow(clippy::unwrap_used)]

mod support;

use support::Process;
use support::cluster::Cluster;

#[test]
fn status_tells_who_leads_and_who_is_behind() {
    for cluster in Cluster::all() {
        cluster.say(&["put", "k", "v"]);
        let first = format!("--endpoints={}", cluster.members[0].endpoint);
        let all = cluster.json(&[&first, "status", "--cluster"]);
        let all = all.as_array().unwrap();
        assert_eq!(all.len(), 3);
        let mut names: Vec<&str> = all.iter().map(|m| m["name"].as_str().unwrap()).collect();
        names.sort_unstable();
        assert_eq!(names, ["n1", "n2", "n3"]);
        let roles = |role: &str| all.iter().filter(|m| m["role"] == role).count();
        assert_eq!((roles("leader"), roles("follower")), (1, 2), "{all:?}");
        for member in all {
            assert_eq!(member["healthy"], true, "{member}");
            assert!(member["behind"].as_u64().unwrap() < 10, "{member}");
            assert!(
                member["fsync_p99_seconds"].as_f64().unwrap() > 0.0,
                "{member}"
            );
        }
        let text = cluster.say(&["status"]);
        assert!(
            text.contains("BEHIND") && text.contains("follower"),
            "{text}"
        );
        assert_eq!(text.lines().count(), 4, "{text}");
    }
}

#[test]
fn a_dead_member_is_told_and_the_others_shown() {
    for mut cluster in Cluster::all() {
        cluster.members[2].kill();
        let said = cluster.run(&["--timeout=2s", "status"]);
        assert_eq!(said.code, Some(3), "{said:?}");
        assert!(
            said.out.contains("n1") && said.out.contains("n2"),
            "{said:?}"
        );
        assert!(said.err.contains(&cluster.members[2].endpoint), "{said:?}");
    }
}

#[test]
fn leadership_goes_where_it_is_sent() {
    for cluster in Cluster::all() {
        let before = cluster.leader();
        let to = cluster.members.iter().find(|m| m.name != before).unwrap();
        let said = cluster.say(&["move-leader", &to.name]);
        assert!(said.contains(&format!("{} (", to.name)), "{said}");
        assert_eq!(cluster.leader(), to.name);
        let said = cluster.say(&["move-leader", &to.name]);
        assert!(said.contains("leads already"), "{said}");
        let said = cluster.refused(&["move-leader", "n9"]);
        assert!(said.contains("n1 (") && said.contains("n3 ("), "{said}");
    }
}

#[test]
fn members_that_hold_the_same_are_called_equal() {
    for cluster in Cluster::all() {
        cluster.say(&["put", "k", "v"]);
        let said = cluster.say(&["hashkv"]);
        assert!(said.contains("all 3 members that answered"), "{said}");
        let all = cluster.json(&["hashkv"]);
        assert_eq!(all["equal"], true, "{all}");
        assert_eq!(all["members"].as_array().unwrap().len(), 3, "{all}");
        assert_eq!(cluster.say(&["alarm", "list"]), "no alarms\n");
        assert_eq!(cluster.say(&["alarm", "disarm"]), "no alarms\n");
    }
}

#[test]
fn members_are_added_changed_and_removed() {
    for cluster in Cluster::all() {
        let new = cluster.plan("n4");
        let add = ["member", "add", "n4", "--learner", "--peer-urls"];
        let said = cluster.say_in_the_end(&[&add[..], &[&new.peer_url]].concat());
        assert!(said.contains("handfast serve \\"), "{said}");
        assert!(said.contains("--initial-cluster-state existing"), "{said}");
        assert!(said.contains("\nETCD_NAME=\"n4\"\n"), "{said}");
        let entry = format!("n4={}", new.peer_url);
        assert!(said.contains(&entry), "{said}");

        let list = cluster.json(&["member", "list"]);
        let unnamed = |m: &&serde_json::Value| m["status"] == "unstarted";
        let id = list.as_array().unwrap().iter().find(unnamed).unwrap()["id"].clone();
        let id = id.as_str().unwrap();

        let again = cluster.refused(&[&add[..], &[&new.peer_url]].concat());
        assert!(
            again.contains(id) && again.contains("has that address"),
            "{again}"
        );
        let second = [
            "member",
            "add",
            "n5",
            "--learner",
            "--peer-urls=127.0.0.1:1",
        ];
        let second = cluster.refused(&second);
        assert!(second.contains("promote or remove"), "{second}");
        let taken = ["member", "add", "n2", "--peer-urls=127.0.0.1:1"];
        assert!(
            cluster
                .refused(&taken)
                .contains("has the name `n2` already")
        );
        let early = cluster.refused(&["member", "promote", id]);
        assert!(early.contains("in sync with leader"), "{early}");

        let moved = cluster.plan("n4").peer_url;
        cluster.say(&["member", "update", id, "--peer-urls", &moved]);
        assert!(cluster.say(&["members"]).contains(&moved));
        let gone = cluster.say(&["member", "remove", id]);
        assert!(gone.contains("can never come back"), "{gone}");
        assert_eq!(
            cluster.json(&["member", "list"]).as_array().unwrap().len(),
            3
        );
        let unknown = cluster.refused(&["member", "remove", id]);
        assert!(unknown.contains("there is no member"), "{unknown}");
    }
}

#[test]
fn a_member_is_replaced_step_by_step() {
    for mut cluster in Cluster::all() {
        cluster.say(&["put", "k", "v"]);
        // The leader is the hardest to replace.
        let old = cluster.leader();
        let mut new = cluster.plan(&old);
        let (endpoint, peer_url) = (new.endpoint.clone(), new.peer_url.clone());
        let replace = ["member", "replace", &old, &peer_url];
        let mut running = Process::start(cluster.command(&replace));
        let said = running.wait_for("ETCD_INITIAL_CLUSTER_STATE");
        let list = said
            .iter()
            .find_map(|line| line.strip_prefix("ETCD_INITIAL_CLUSTER="));
        let list = list.unwrap().trim_matches('"').to_owned();
        // Interrupted, it goes on where it was.
        running.wait_for("waiting for the new member to be started");
        running.signal("KILL");
        assert_eq!(running.end(), None);
        let mut running = Process::start(cluster.command(&replace));
        running.wait_for("waiting for the new member to be started");
        let flags = [
            "--initial-cluster",
            &list,
            "--initial-cluster-state=existing",
        ];
        new.process = Some(Process::start(new.command(cluster.program, &flags)));
        running.wait_for("is in its place");
        assert_eq!(running.end(), Some(0));
        new.wait_until_ready();
        let place = cluster.members.iter().position(|m| m.name == old).unwrap();
        let mut gone = std::mem::replace(&mut cluster.members[place], new);
        // A removed member ends by itself.
        gone.process.as_mut().unwrap().end();
        let members = cluster.json(&["member", "list"]);
        let members = members.as_array().unwrap();
        assert_eq!(members.len(), 3, "{members:?}");
        let voters = members.iter().filter(|m| m["status"] == "started").count();
        assert_eq!(voters, 3, "{members:?}");
        assert!(members.iter().any(|m| m["peer_urls"][0] == *peer_url));
        cluster.say(&["--endpoints", &endpoint, "put", "k", "w"]);
        let again = cluster.say(&replace);
        assert!(again.contains("nothing is left to do"), "{again}");
    }
}
