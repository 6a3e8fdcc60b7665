//! Settings about several members: founding, joining, and what follows from them.

use super::*;

const THREE: &str = "a=http://127.0.0.1:1,b=http://127.0.0.1:2,c=http://127.0.0.1:3";
const TOKEN: &str = "00000000000000aB-000102030405060708090a0b0c0d0e0f";

fn urls(urls: &[Url]) -> Vec<String> {
    urls.iter().map(Url::to_string).collect()
}

fn config(flags: Pairs<'_>) -> Config {
    resolve(flags, &[]).unwrap().config
}

#[test]
fn static_members_listen_and_advertise_where_the_list_says() {
    let config = config(&[("name", "b"), ("initial-cluster", THREE)]);
    assert_eq!(
        urls(&config.initial_advertise_peer_urls),
        ["http://127.0.0.1:2"]
    );
    assert_eq!(urls(&config.listen_peer_urls), ["http://127.0.0.1:2"]);
    assert_eq!(config.peer_listener(), PeerListener::Required);
    assert_eq!(config.initial_cluster_state, InitialClusterState::New);
    let names: Vec<String> = config.founders().into_iter().map(|f| f.name).collect();
    assert_eq!(names, ["a", "b", "c"]);
}

#[test]
fn a_name_may_have_several_urls() {
    let list = "a=http://10.0.0.1:1,b=http://10.0.0.2:1,a=http://10.1.0.1:1";
    let config = config(&[("name", "a"), ("initial-cluster", list)]);
    let founders = config.founders();
    assert_eq!(founders.len(), 2);
    let expected = ["http://10.0.0.1:1", "http://10.1.0.1:1"];
    assert_eq!(urls(&founders[0].peer_urls), expected);
    assert_eq!(urls(&config.initial_advertise_peer_urls), expected);
}

#[test]
fn one_member_alone_listens_if_it_can() {
    assert_eq!(config(&[]).peer_listener(), PeerListener::IfFree);
    let own = [("initial-cluster", "default=http://example.org:2380")];
    assert_eq!(config(&own).peer_listener(), PeerListener::IfFree);
    assert_eq!(
        config(&[("ephemeral", "true")]).peer_listener(),
        PeerListener::Off
    );
    let asked = config(&[("ephemeral", "true"), ("listen-peer-urls", "1234")]);
    assert_eq!(asked.peer_listener(), PeerListener::Required);
    assert_eq!(urls(&asked.listen_peer_urls), ["http://127.0.0.1:1234"]);
    assert_eq!(asked.listen_peer_urls, asked.initial_advertise_peer_urls);
}

#[test]
fn others_are_not_told_the_wildcard() {
    let config = config(&[("listen-peer-urls", "http://0.0.0.0:1234")]);
    assert!(!config.initial_advertise_peer_urls[0].is_unspecified());
    assert!(config.warnings()[0].contains("can speak as a member"));
    let told = [("initial-advertise-peer-urls", "http://0.0.0.0:1")];
    assert!(message(resolve(&told, &[])).contains("name the one others reach"));
}

#[test]
fn the_list_must_have_this_member_where_it_says_it_is() {
    let text = message(resolve(&[("initial-cluster", THREE)], &[]));
    assert!(text.contains("no entry for this member, `default`"));
    let elsewhere = [
        ("name", "a"),
        ("initial-cluster", THREE),
        ("initial-advertise-peer-urls", "http://127.0.0.1:9"),
    ];
    let text = message(resolve(&elsewhere, &[]));
    assert!(
        text.contains("http://127.0.0.1:1,") && text.contains("http://127.0.0.1:9"),
        "{text}"
    );
    let same = [
        ("name", "a"),
        ("initial-cluster", THREE),
        ("initial-advertise-peer-urls", "http://localhost:1"),
        ("listen-peer-urls", "http://127.0.0.1:1"),
    ];
    assert!(resolve(&same, &[]).is_ok());
}

#[test]
fn lists_that_cannot_be_are_refused() {
    let refused = [
        ("default=http://a:1,b=http://a:1", "both have http://a:1"),
        ("default=https://a:1,b=http://b:1", "TLS between members"),
        ("default=unix:///x,b=http://b:1", "members talk over TCP"),
        ("default=http://a:1,=http://b:1", "is empty"),
        ("default=http://a", "lacks a port"),
        ("default", "is not NAME=URL"),
    ];
    for (list, expected) in refused {
        let text = message(resolve(&[("initial-cluster", list)], &[]));
        assert!(
            text.contains("--initial-cluster") && text.contains(expected),
            "{text}"
        );
    }
}

#[test]
fn a_name_is_nothing_to_listen_on() {
    let list = "default=http://n1.example.org:2380,b=http://n2.example.org:2380";
    let text = message(resolve(&[("initial-cluster", list)], &[]));
    assert!(text.contains("--listen-peer-urls http://0.0.0.0:2380"));
    let listening = [
        ("initial-cluster", list),
        ("listen-peer-urls", "http://0.0.0.0:2380"),
    ];
    assert!(resolve(&listening, &[]).is_ok());
    let named = [
        ("initial-cluster", list),
        ("listen-peer-urls", "http://n1.example.org:2380"),
    ];
    assert!(message(resolve(&named, &[])).contains("--listen-peer-urls: "));
}

#[test]
fn an_existing_cluster_needs_somebody_to_ask() {
    let alone = config(&[("initial-cluster-state", "existing")]);
    let text = alone.check_first_start().unwrap_err().to_string();
    assert!(text.contains("names no other member"));
    let among = [
        ("name", "a"),
        ("initial-cluster", THREE),
        ("initial-cluster-state", "existing"),
    ];
    assert!(config(&among).check_first_start().is_ok());
}

#[test]
fn joining_takes_addresses_and_a_token() {
    let flags = [("join", "127.0.0.1:2480,localhost:2580")];
    let env = [("HANDFAST_JOIN_TOKEN", TOKEN)];
    let config = resolve(&flags, &env).unwrap().config;
    let join = config.join.clone().unwrap();
    let expected = ["http://127.0.0.1:2480", "http://localhost:2580"];
    assert_eq!(urls(&join.addresses), expected);
    assert_eq!(join.token.cluster_id(), 0xab);
    assert_eq!(join.token.as_str(), TOKEN.to_ascii_lowercase());
    assert!(!format!("{config:?}").contains("0f"), "the secret is shown");
    assert_eq!(config.peer_listener(), PeerListener::Required);
    assert_ne!(
        config.name, "default",
        "members of one cluster should differ"
    );
}

#[test]
fn a_token_may_be_in_a_file() {
    let flags = [("join", "127.0.0.1:2480"), ("join-token", "@token.txt")];
    let resolved = resolve_with_token(&flags, &format!("{TOKEN}\n")).unwrap();
    assert!(resolved.config.join.is_some());
    let flags = [("join", "127.0.0.1:2480"), ("join-token", "@gone.txt")];
    let text = message(resolve_with_token(&flags, TOKEN));
    assert!(
        text.contains("--join-token: gone.txt cannot be read"),
        "{text}"
    );
}

#[test]
fn joining_wrongly_says_what_is_missing() {
    let text = message(resolve(&[("join", "127.0.0.1:2480")], &[]));
    assert!(text.contains("handfast cluster token"), "{text}");
    let text = message(resolve(&[("join-token", TOKEN)], &[]));
    assert!(text.contains("needs --join"), "{text}");
    let left_over = resolve(&[], &[("HANDFAST_JOIN_TOKEN", TOKEN)]).unwrap();
    assert!(left_over.notes[0].contains("no effect without --join"));
    for wrong in [
        "secret",
        "00ab-0102",
        &TOKEN[..48],
        &TOKEN.replace('-', "_"),
    ] {
        let text = message(resolve(&[("join", "h:1"), ("join-token", wrong)], &[]));
        assert!(text.contains("--join-token") && text.contains("not a join token"));
        assert!(!text.contains(wrong), "a secret must not be printed");
    }
    for (join, expected) in [
        ("10.0.0.1", "HOST:PORT"),
        (",", "HOST:PORT"),
        ("https://10.0.0.1:2380", "without TLS"),
    ] {
        let text = message(resolve(&[("join", join), ("join-token", TOKEN)], &[]));
        assert!(
            text.contains("--join: ") && text.contains(expected),
            "{text}"
        );
    }
    let own = [("join", "127.0.0.1:2380"), ("join-token", TOKEN)];
    assert!(message(resolve(&own, &[])).contains("this member's own address"));
    let both = [
        ("join", "h:1"),
        ("join-token", TOKEN),
        ("initial-cluster", "default=http://localhost:2380"),
    ];
    assert!(message(resolve(&both, &[])).contains("do not go together"));
}

#[test]
fn what_replaces_force_new_cluster_is_named() {
    let text = message(resolve(&[("force-new-cluster", "true")], &[]));
    assert!(text.contains("handfast cluster recover"), "{text}");
    assert!(resolve(&[("force-new-cluster", "false")], &[]).is_ok());
}

#[test]
fn flags_of_clusters_are_read() {
    let config = config(&[
        ("corrupt-check-time", "0s"),
        ("max-learners", "2"),
        ("strict-reconfig-check", "false"),
        ("read-from-leader-lease", "true"),
        ("initial-cluster-token", "mine"),
    ]);
    assert!(config.corrupt_check_time.is_zero());
    assert_eq!(config.max_learners, 2);
    assert!(!config.strict_reconfig_check);
    assert!(config.lease_read);
    assert_eq!(config.initial_cluster_token, "mine");
}
