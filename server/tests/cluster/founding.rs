//! Starting: founding, joining by token, and data that belongs elsewhere.

use std::fs;

use handfast_server::config::{Config, Join, Url};
use handfast_server::{BootstrapError, Error, Server};

use crate::members::{Cluster, Place, config, eventually, free_ports, soon, start};

async fn refused(config: &Config) -> BootstrapError {
    match start(config).await {
        Err(Error::Bootstrap(error)) => error,
        Err(error) => panic!("refused for another reason: {error}"),
        Ok(_) => panic!("it started"),
    }
}

#[tokio::test]
async fn members_tell_the_cluster_their_names_and_client_addresses() {
    let cluster = Cluster::found(3).await;
    let complete = eventually(async || {
        let members = cluster.places[0].members().await;
        let done = members.iter().all(|member| !member.client_ur_ls.is_empty());
        done.then_some(members)
    })
    .await;
    assert_eq!(complete.len(), 3);
    for place in &cluster.places {
        let member = complete.iter().find(|member| member.id == place.id());
        let member = member.unwrap();
        assert_eq!(member.name, place.config.name);
        assert_eq!(member.client_ur_ls, [place.server().endpoint()]);
        assert!(!member.is_learner);
    }
}

#[tokio::test]
async fn a_member_with_the_data_of_another_cluster_or_member_is_refused() {
    let mut cluster = Cluster::found(3).await;
    let mut other = Cluster::found(3).await;
    other.places[2].stop().await;
    cluster.places[2].stop().await;

    let mut mixed_up = cluster.places[2].config.clone();
    mixed_up.data_dir = other.places[2].data_dir();
    let error = refused(&mixed_up).await;
    assert!(
        matches!(error, BootstrapError::OtherClustersData { .. }),
        "{error}"
    );

    cluster.places[1].stop().await;
    mixed_up.data_dir = cluster.places[1].data_dir();
    let error = refused(&mixed_up).await;
    assert!(
        matches!(error, BootstrapError::OtherMembersData { .. }),
        "{error}"
    );
}

#[tokio::test]
async fn a_member_that_lost_its_data_does_not_come_back_under_its_old_identity() {
    let mut cluster = Cluster::found(3).await;
    let listed = async || {
        let members = cluster.places[0].members().await;
        let done = members.iter().all(|member| !member.client_ur_ls.is_empty());
        done.then_some(())
    };
    eventually(listed).await;
    cluster.places[2].kill().await;
    fs::remove_dir_all(cluster.places[2].data_dir()).unwrap();
    let error = refused(&cluster.places[2].config).await;
    assert!(matches!(error, BootstrapError::DataLost { .. }), "{error}");
}

#[tokio::test]
async fn members_join_with_a_token_and_get_a_vote() {
    let root = tempfile::tempdir().unwrap();
    let place = |name: &str| Place {
        config: config(
            name,
            &Url::tcp("127.0.0.1", free_ports(1)[0]),
            &root.path().join(name),
        ),
        server: None,
    };
    let mut first = place("first");
    first.start().await;
    first.put("k", "v").await;
    let file = first.data_dir().join("JOIN_TOKEN");
    let token = eventually(async || fs::read_to_string(&file).ok()).await;

    let mut joined = Vec::new();
    // By an address for members, and by one for clients.
    for (name, address) in [
        ("second", first.peer_url()),
        ("third", first.server().endpoint()),
    ] {
        let mut newcomer = place(name);
        newcomer.config.join = Some(Join::new(
            vec![address.parse().unwrap()],
            token.trim().parse().unwrap(),
        ));
        newcomer.start().await;
        assert_eq!(newcomer.server().cluster_id(), first.server().cluster_id());
        assert_eq!(newcomer.get("k").await.as_deref(), Some("v"));
        newcomer.votes().await;
        joined.push(newcomer);
    }
    assert_eq!(first.members().await.len(), 3);
    joined[1].put("k", "w").await;
    assert_eq!(joined[0].get("k").await.as_deref(), Some("w"));
    // Votes they have in fact: the founder may go.
    first.kill().await;
    joined[0].put("k", "x").await;
    assert_eq!(joined[1].get("k").await.as_deref(), Some("x"));

    let mut intruder = place("intruder");
    let wrong = format!(
        "{:016x}-{}",
        joined[0].server().cluster_id(),
        "0".repeat(32)
    );
    intruder.config.join = Some(Join::new(
        vec![joined[0].peer_url().parse().unwrap()],
        wrong.parse().unwrap(),
    ));
    let error = refused(&intruder.config).await;
    assert!(
        matches!(error, BootstrapError::JoinRefused { .. }),
        "{error}"
    );
}

#[tokio::test]
async fn a_port_for_members_is_optional_for_one_member_and_free_for_the_asking() {
    let root = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let taken = Url::tcp("127.0.0.1", taken.local_addr().unwrap().port());
    let holder = std::net::TcpListener::bind(("127.0.0.1", taken.port()));
    let mut alone = config("alone", &taken, &root.path().join("alone"));
    let error = start(&alone).await.map(|_| ()).unwrap_err();
    assert!(matches!(error, Error::Listen { .. }), "{error}");
    alone.listen_peer_urls_explicit = false;
    let server = start(&alone).await.unwrap();
    assert!(server.peer_urls().is_empty());
    soon(server.shutdown()).await.unwrap();
    drop(holder);

    alone.listen_peer_urls = vec![Url::tcp("127.0.0.1", 0)];
    alone.listen_peer_urls_explicit = true;
    let server = start(&alone).await.unwrap();
    assert!(!server.peer_urls()[0].ends_with(":0"));
    soon(server.shutdown()).await.unwrap();

    let server = soon(Server::builder().ephemeral().start()).await.unwrap();
    assert!(server.peer_urls().is_empty());
    soon(server.shutdown()).await.unwrap();
}
