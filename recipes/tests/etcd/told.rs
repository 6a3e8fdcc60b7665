//! Losers are told by whom and why, whatever happened in between.

use std::time::Duration;

use handfast::{Handfast, LostReason, RegistrationState, State};

use crate::{
    proxy::Proxy,
    server::shared,
    util::{TTL, client, connect, name, queue_of, soon, until},
};

fn is_killed(reason: &LostReason) -> bool {
    let LostReason::Killed { by, why } = reason else {
        return false;
    };
    by.starts_with("test (pid") && why == "it hangs"
}

/// The session's lease, once its record is written.
async fn recorded(hf: &Handfast) -> i64 {
    let lease = soon(hf.session().unwrap().epoch()).await.unwrap().lease();
    until(|| async {
        let sessions = hf.sessions().await.unwrap();
        sessions.iter().find(|(found, _)| *found == lease).map(drop)
    })
    .await;
    lease
}

#[tokio::test]
async fn whatever_a_killed_session_had_tells_by_whom_and_why() {
    let (client, boss, doomed) = (client(shared()), connect(shared()), connect(shared()));
    let (held, led, awaited) = (name("killed"), name("killed"), name("killed"));
    let guard = soon(doomed.lock(&held).acquire()).await.unwrap();
    let leading = soon(doomed.election(&led).campaign()).await.unwrap();
    let queue = name("killed");
    soon(doomed.queue(&queue).push("work").send())
        .await
        .unwrap();
    let claim = soon(doomed.queue(&queue).worker().next())
        .await
        .unwrap()
        .unwrap();
    let service = doomed.service(name("killed"));
    let registered = soon(service.instance("n1", "10.0.0.5:80").register())
        .await
        .unwrap();
    let other = soon(boss.lock(&awaited).acquire()).await.unwrap();
    let waiting = tokio::spawn({
        let lock = doomed.lock(&awaited);
        async move { lock.acquire().await }
    });
    queue_of(&client, &awaited, 2).await;
    let mut states = doomed.session().unwrap().watch();
    let seen = tokio::spawn(async move {
        let lost = soon(states.wait_for(|state| matches!(state, State::Lost { .. }))).await;
        lost.unwrap().clone()
    });

    let lease = recorded(&doomed).await;
    assert!(soon(boss.kill_session(lease, "it hangs")).await.unwrap());

    assert!(is_killed(&soon(guard.lost()).await));
    assert!(is_killed(&soon(leading.lost()).await));
    let refused = soon(claim.ack().commit()).await.unwrap_err();
    assert!(is_killed(refused.lost_reason().unwrap()), "{refused}");
    let left = soon(waiting).await.unwrap().unwrap_err();
    assert_eq!(left.code(), "SESSION_LOST");
    assert!(is_killed(left.lost_reason().unwrap()), "{left}");
    let State::Lost { reason } = seen.await.unwrap() else {
        panic!()
    };
    assert!(is_killed(&reason), "{reason}");
    let told = soon(guard.release()).await.unwrap_err();
    assert!(told.to_string().contains("killed by test (pid"), "{told}");

    // Nothing is left of it, and it is not ended twice.
    queue_of(&client, &held, 0).await;
    let notes = client.range("_handfast/note/").prefix().await.unwrap();
    let noted = |key: &[u8]| String::from_utf8_lossy(key).contains(&held);
    assert!(!notes.kvs.iter().any(|pair| noted(&pair.key)));
    assert!(!soon(boss.kill_session(lease, "again")).await.unwrap());
    // The program has a new session, and what it is registered as came back.
    let up = |state: &RegistrationState| matches!(state, RegistrationState::Listed { .. });
    until(|| async { Some(registered.state()).filter(up) }).await;
    assert_ne!(recorded(&doomed).await, lease);
    soon(other.release()).await.unwrap();
}

#[tokio::test]
async fn a_program_that_leaves_no_record_can_be_killed_too() {
    let (client, boss) = (client(shared()), connect(shared()));
    let lease = client.lease_grant(60, 0).await.unwrap().id;
    let key = name("foreign");
    client.put(&key, "").lease(lease).await.unwrap();
    assert!(
        !soon(boss.kill_session(lease + 1, "it hangs"))
            .await
            .unwrap()
    );
    // Somebody else's key under the record's name is left as it is.
    let record = format!("_handfast/session/{lease:x}");
    client
        .put(&record, "not a record")
        .lease(lease)
        .await
        .unwrap();
    assert!(soon(boss.kill_session(lease, "it hangs")).await.unwrap());
    assert!(client.get(&key).await.unwrap().is_none());
    assert!(client.get(&record).await.unwrap().is_none());
}

/// A session whose server's answers can be lost.
async fn behind(proxy: &Proxy) -> Handfast {
    let hf = Handfast::builder()
        .endpoints(&proxy.endpoint)
        .ttl(TTL)
        .app_name("test");
    hf.request_timeout(Duration::from_secs(2)).build().unwrap()
}

#[tokio::test]
async fn a_kill_during_an_outage_is_told_afterwards() {
    let proxy = Proxy::start(shared().address()).await;
    let (boss, doomed, name) = (connect(shared()), behind(&proxy).await, name("outage"));
    let guard = soon(doomed.lock(&name).acquire()).await.unwrap();
    let lease = recorded(&doomed).await;
    proxy.swallow();
    assert!(soon(boss.kill_session(lease, "it hangs")).await.unwrap());
    proxy.heal();
    // Asked by whichever way it hears of it first.
    let error = soon(guard.release()).await.unwrap_err();
    assert!(is_killed(error.lost_reason().unwrap()), "{error}");
}

#[tokio::test]
async fn a_break_is_told_with_its_reason_even_when_its_note_is_gone_by_then() {
    let proxy = Proxy::start(shared().address()).await;
    let (client, boss) = (client(shared()), connect(shared()));
    let (hf, name) = (behind(&proxy).await, name("late"));
    let guard = soon(hf.lock(&name).acquire()).await.unwrap();
    proxy.swallow();
    let broken = soon(boss.lock(&name).break_holder("it hangs"))
        .await
        .unwrap()
        .unwrap();
    let note = format!("_handfast/note/{}", String::from_utf8_lossy(&broken.key));
    let note = client.get(&note).await.unwrap().unwrap();
    client.lease_revoke(note.lease).await.unwrap();
    proxy.heal();
    let reason = soon(guard.lost()).await;
    assert!(
        matches!(&reason, LostReason::Broken { why, .. } if why == "it hangs"),
        "{reason}"
    );
}

#[tokio::test]
async fn an_earlier_break_does_not_explain_a_later_loss() {
    let (client, boss, hf) = (client(shared()), connect(shared()), connect(shared()));
    let name = name("earlier");
    let first = soon(hf.lock(&name).acquire()).await.unwrap();
    soon(boss.lock(&name).break_holder("it hangs"))
        .await
        .unwrap()
        .unwrap();
    soon(first.lost()).await;
    assert!(soon(first.release()).await.is_err());
    let second = soon(hf.lock(&name).acquire()).await.unwrap();
    let note = format!("_handfast/note/{}", String::from_utf8_lossy(second.key()));
    let same_key = client.get(&note).await.unwrap().is_some();
    client.delete(second.key()).await.unwrap();
    let reason = soon(second.lost()).await;
    assert_eq!(reason, LostReason::Deleted, "the same key: {same_key}");
}

#[tokio::test]
async fn a_lock_that_was_broken_unnoticed_tells_so_when_it_is_released() {
    let proxy = Proxy::start(shared().address()).await;
    let (boss, hf, name) = (connect(shared()), behind(&proxy).await, name("unnoticed"));
    let guard = soon(hf.lock(&name).acquire()).await.unwrap();
    proxy.swallow();
    let broken = soon(boss.lock(&name).break_holder("it hangs"))
        .await
        .unwrap();
    assert_eq!(broken.unwrap().token, guard.token());
    let released = tokio::spawn(guard.release());
    proxy.heal();
    let error = soon(released).await.unwrap().unwrap_err();
    assert!(
        matches!(error.lost_reason(), Some(LostReason::Broken { .. })),
        "{error}"
    );
}
