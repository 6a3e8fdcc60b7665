//! Start, restart and stop.

use handfast_proto::etcdserverpb::{LeaseTimeToLiveRequest, PutRequest, RangeRequest};
use handfast_server::{Error, Server};

use crate::clients::{Clients, get, put, soon, start, watch};
use handfast_proto::etcdserverpb::WatchCreateRequest;

async fn start_on(dir: &std::path::Path) -> Server {
    soon(
        Server::builder()
            .data_dir(dir)
            .listen("127.0.0.1:0")
            .start(),
    )
    .await
    .unwrap()
}

#[tokio::test]
async fn a_restart_keeps_keys_history_leases_revision_and_identity() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("data");
    let server = start_on(&dir).await;
    let identity = (server.cluster_id(), server.member_id());
    let clients = Clients::connect(&server.endpoint()).await;
    clients.grant(600, 7).await;
    clients.put("a", "1").await;
    clients.put("a", "2").await;
    let on_lease = PutRequest {
        lease: 7,
        ..put("b", "3")
    };
    clients.kv.clone().put(on_lease).await.unwrap();
    soon(server.shutdown()).await.unwrap();

    let server = start_on(&dir).await;
    assert_eq!((server.cluster_id(), server.member_id()), identity);
    let clients = Clients::connect(&server.endpoint()).await;
    let now = clients.get("a").await;
    assert_eq!(
        (now.header.unwrap().revision, &now.kvs[0].value[..]),
        (4, &b"2"[..])
    );
    assert_eq!((now.kvs[0].create_revision, now.kvs[0].version), (2, 2));
    let old = RangeRequest {
        revision: 2,
        ..get("a")
    };
    let old = soon(clients.kv.clone().range(old))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(old.kvs[0].value, "1");
    let asked = LeaseTimeToLiveRequest { id: 7, keys: true };
    let lease = soon(clients.lease.clone().lease_time_to_live(asked))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (lease.granted_ttl, &lease.keys[..]),
        (600, &["b".into()][..])
    );
    assert_eq!(clients.put("c", "4").await, 5);
    let mut watching = clients.open_watch();
    watching
        .create(WatchCreateRequest {
            start_revision: 2,
            ..watch("a")
        })
        .await;
    assert_eq!(
        watching.events(2).await,
        [(0, "a".into(), 2), (0, "a".into(), 3)]
    );
    soon(server.shutdown()).await.unwrap();
}

#[tokio::test]
async fn an_ephemeral_server_leaves_nothing_behind() {
    let (server, clients) = start().await;
    clients.put("a", "1").await;
    let dir = server.data_dir().to_owned();
    assert!(dir.is_dir());
    soon(server.shutdown()).await.unwrap();
    assert!(!dir.exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_server_stops_in_the_background() {
    let dir = tempfile::tempdir().unwrap();
    let server = start_on(dir.path()).await;
    let clients = Clients::connect(&server.endpoint()).await;
    clients.put("a", "1").await;
    drop(server);
    // The directory is free once the stop is through.
    let restarted = soon(async {
        loop {
            match Server::builder()
                .data_dir(dir.path())
                .listen("127.0.0.1:0")
                .start()
                .await
            {
                Ok(server) => return server,
                Err(Error::Storage(handfast_storage::Error::Locked { .. })) => {
                    tokio::task::yield_now().await;
                }
                Err(error) => panic!("{error}"),
            }
        }
    })
    .await;
    let clients = Clients::connect(&restarted.endpoint()).await;
    assert_eq!(clients.get("a").await.count, 1);
}

#[tokio::test]
async fn what_stands_in_the_way_of_a_start_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let server = start_on(dir.path()).await;
    let taken = Server::builder()
        .ephemeral()
        .listen(server.endpoint())
        .start()
        .await;
    assert!(matches!(taken, Err(Error::Listen { .. })), "{taken:?}");
    let text = taken.unwrap_err().to_string();
    assert!(text.contains(&server.endpoint()), "{text}");

    let locked = Server::builder()
        .data_dir(dir.path())
        .listen("127.0.0.1:0")
        .start()
        .await;
    let text = locked.unwrap_err().to_string();
    assert!(
        text.contains("in use") && text.contains(&std::process::id().to_string()),
        "{text}"
    );

    let address = Server::builder()
        .ephemeral()
        .listen("no port")
        .start()
        .await;
    assert!(matches!(address, Err(Error::Address { .. })), "{address:?}");
}

#[tokio::test]
async fn two_servers_in_one_process_do_not_share_anything() {
    let ((one, to_one), (other, to_other)) = (start().await, start().await);
    assert_ne!(one.cluster_id(), other.cluster_id());
    to_one.put("a", "1").await;
    assert_eq!(to_other.get("a").await.count, 0);
}

#[tokio::test]
async fn a_running_request_is_finished_before_the_stop() {
    let (server, clients) = start().await;
    let writes: Vec<_> = (0..200)
        .map(|i| {
            let mut kv = clients.kv.clone();
            tokio::spawn(async move { kv.put(put(&format!("k{i}"), "v")).await })
        })
        .collect();
    clients.put("last", "v").await;
    soon(server.shutdown()).await.unwrap();
    for write in writes {
        // Either it was taken and answered, or it came too late and was refused as a whole.
        if let Err(status) = write.await.unwrap() {
            assert_eq!(status.code(), tonic::Code::Unavailable, "{status}");
        }
    }
}

#[tokio::test]
async fn a_socket_file_is_served_replaced_when_stale_and_removed_at_the_end() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("handfast.sock");
    // What a crash leaves behind: a file that nobody answers on.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let url = format!("unix://{}", path.display());
    let server = soon(Server::builder().ephemeral().listen(&url).start())
        .await
        .unwrap();
    assert_eq!(server.endpoint(), url);
    let mut stream = tokio::net::UnixStream::connect(&path).await.unwrap();
    let request = b"GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut reply = String::new();
    soon(stream.read_to_string(&mut reply)).await.unwrap();
    assert!(reply.starts_with("HTTP/1.1 200 OK"), "{reply}");
    let second = Server::builder().ephemeral().listen(&url).start().await;
    assert!(matches!(second, Err(Error::Listen { .. })), "{second:?}");
    soon(server.shutdown()).await.unwrap();
    assert!(!path.exists());
}
