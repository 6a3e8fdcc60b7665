//! Members, status, health and upkeep.

use handfast_core::{
    ErrorKind,
    proto::etcdserverpb::{AlarmMember, AlarmType},
};

use crate::common::Etcd;

#[tokio::test]
async fn a_member_tells_of_itself() {
    let etcd = Etcd::start().await;
    let client = etcd.client().await;
    let list = client.members().await.unwrap();
    assert_eq!((list.members.len(), &*list.members[0].name), (1, "test"));
    assert_eq!(list.members[0].client_ur_ls, [etcd.endpoint()]);
    let status = client.status(&etcd.endpoint()).await.unwrap();
    assert_eq!(status.leader, list.members[0].id);
    client.health(&etcd.endpoint()).await.unwrap();
    assert!(client.alarms().await.unwrap().is_empty());
    client.hash_kv(&etcd.endpoint(), 0).await.unwrap();
    let gone = client.member_remove(0xdead).await.unwrap_err();
    assert!(!gone.in_doubt(), "{gone}");
    let twice = client
        .member_add(list.members[0].peer_ur_ls.clone(), false)
        .await
        .unwrap_err();
    assert!(!twice.in_doubt(), "{twice}");
}

#[tokio::test]
async fn a_member_is_defragmented() {
    let etcd = Etcd::start().await;
    let client = etcd.client().await;
    client.defragment(&etcd.endpoint()).await.unwrap();
}

#[tokio::test]
async fn an_alarm_makes_a_member_unhealthy_until_it_is_disarmed() {
    let etcd = Etcd::start().await;
    let client = etcd.client().await;
    let member_id = client.members().await.unwrap().members[0].id;
    let alarm = AlarmMember {
        member_id,
        alarm: AlarmType::Nospace as i32,
    };
    let mut maintenance =
        handfast_core::proto::etcdserverpb::maintenance_client::MaintenanceClient::new(
            client.channel(None).await.unwrap(),
        );
    let request = handfast_core::proto::etcdserverpb::AlarmRequest {
        action: 1,
        member_id,
        alarm: alarm.alarm,
    };
    maintenance.alarm(request).await.unwrap();
    let ill = client.health(&etcd.endpoint()).await.unwrap_err();
    assert_eq!(ill.kind(), ErrorKind::NoSpace);
    let full = client.put("k", "v").await.unwrap_err();
    assert_eq!((full.kind(), full.in_doubt()), (ErrorKind::NoSpace, false));
    client
        .alarm_disarm(client.alarms().await.unwrap()[0])
        .await
        .unwrap();
    client.health(&etcd.endpoint()).await.unwrap();
    client.put("k", "v").await.unwrap();
}

#[tokio::test]
async fn a_snapshot_streams_to_its_end() {
    let etcd = Etcd::start().await;
    let client = etcd.client().await;
    let mut chunks = client.snapshot(&etcd.endpoint()).await.unwrap();
    let (mut size, mut remaining) = (0usize, u64::MAX);
    while let Some(chunk) = chunks.message().await.unwrap() {
        size += chunk.blob.len();
        remaining = chunk.remaining_bytes;
    }
    assert_eq!((size % 512, remaining), (32, 0));
}
