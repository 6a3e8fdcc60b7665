//! `/health`: whether the member can serve, in one word and one reason.
//!
//! Owns the order of the checks, which decides what is named when several things are wrong.

use http::StatusCode;
use http::response::Response;
use tonic::body::Body;

use super::{TEXT, parameters, reply};
use crate::api::Node;
use crate::error;

pub(super) async fn answer(node: &Node, query: &str) -> Response<Body> {
    let illness = illness(node, query).await;
    node.metrics.health(illness.is_none());
    match illness {
        None => reply(StatusCode::OK, TEXT, body(true, "")),
        Some(reason) => reply(StatusCode::SERVICE_UNAVAILABLE, TEXT, body(false, &reason)),
    }
}

/// The first thing that is wrong: an alarm, no leader, or no read.
async fn illness(node: &Node, query: &str) -> Option<String> {
    let excluded = |name: &str| parameters(query).any(|asked| asked == ("exclude", name));
    let raised = node.store.alarms();
    let mut names = raised.iter().map(|alarm| error::alarm_name(alarm.kind));
    if let Some(name) = names.find(|name| !excluded(name)) {
        return Some(format!("ALARM {name}"));
    }
    if parameters(query).any(|asked| asked == ("serializable", "true")) {
        let halted = node.store.halted();
        return halted.map(|reason| format!("RANGE ERROR:{reason}"));
    }
    if !node.has_leader() {
        return Some("RAFT NO LEADER".to_owned());
    }
    let read = node.catch_up().await;
    read.err()
        .map(|status| format!("RANGE ERROR:{}", status.message()))
}

fn body(healthy: bool, reason: &str) -> String {
    let mut quoted = String::with_capacity(reason.len());
    for symbol in reason.chars() {
        match symbol {
            '"' | '\\' => quoted.extend(['\\', symbol]),
            control if control.is_control() => quoted.push(' '),
            other => quoted.push(other),
        }
    }
    format!(r#"{{"health":"{healthy}","reason":"{quoted}"}}"#)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_stays_one_json_string_whatever_it_says() {
        assert_eq!(body(true, ""), r#"{"health":"true","reason":""}"#);
        let ill = body(false, "a \"b\"\\\nc");
        assert_eq!(ill, r#"{"health":"false","reason":"a \"b\"\\ c"}"#);
    }
}
