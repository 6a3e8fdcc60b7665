//! What a person reads while a cluster runs on this machine.
//!
//! Owns the words. It must not change anything.

use std::io::Write;

use serde_json::{Value, json};

use super::place::{Layout, Place};
use super::process::{Ended, Process};
use crate::exit::Failure;
use crate::member::howto::quoted;
use crate::output::{Output, table};

/// All is up.
pub(super) fn ready(
    layout: &Layout,
    members: &[Process],
    place: &Place,
    leader: &str,
    output: &mut Output,
) -> Result<(), Failure> {
    if output.is_json() {
        let members = members.iter().enumerate();
        let members: Vec<Value> = members
            .map(|(index, member)| {
                json!({
                    "name": member.name,
                    "endpoint": format!("http://{}", layout.endpoint(index)),
                    "peer_url": layout.peer_url(index),
                    "pid": member.pid,
                    "data_dir": place.data_dir(index),
                })
            })
            .collect();
        output.json(&json!({ "ready": true, "leader": leader, "members": members }))?;
        return output.flush();
    }
    let alive = members.iter().filter(|member| member.runs).count();
    output.line(format!(
        "\n{alive} members of {} are ready; {leader} leads.\n",
        layout.nodes
    ))?;
    let rows: Vec<Vec<String>> = (0..layout.nodes)
        .map(|index| {
            vec![
                format!("  {}", members[index].name),
                format!("http://{}", layout.endpoint(index)),
                layout.peer_url(index),
                members[index].pid.to_string(),
                place.data_dir(index).display().to_string(),
            ]
        })
        .collect();
    let headings = ["  MEMBER", "CLIENTS", "PEERS", "PROCESS", "DATA"];
    table(&headings, &rows)
        .iter()
        .try_for_each(|line| output.line(line))?;
    let endpoints = layout.endpoints();
    let removed = if place.is_temporary() {
        "; the data are removed then"
    } else {
        "; start it again with the same --data-dir to go on"
    };
    output.line(format!(
        "\n  in another shell  export HANDFAST_ENDPOINTS={endpoints}\n  \
           or for etcdctl    export ETCDCTL_API=3 ETCDCTL_ENDPOINTS={endpoints}\n  \
           then              handfast put greeting hello\n                    \
                             handfast status\n                    \
                             kill -9 {}   # {leader}\n  \
           stop with         Ctrl-C{removed}\n",
        pid(members, leader),
    ))?;
    output.flush()
}

/// The process of the member of that name.
fn pid(members: &[Process], name: &str) -> u32 {
    let member = members.iter().find(|member| member.name == name);
    member.map_or(0, |member| member.pid)
}

/// A member ended that nobody told to end.
pub(super) fn death(ended: &Ended, member: &Process, left: usize, layout: &Layout) {
    let enough = match left > layout.nodes / 2 {
        true => "a majority, so the cluster goes on",
        false => "no majority, so nothing can be written until one is back",
    };
    let mut text = format!(
        "handfast: {} (process {}) {}; {left} of {} members are left: {enough}\n",
        member.name, member.pid, ended.how, layout.nodes
    );
    if !ended.last_lines.is_empty() {
        text.push_str(&format!("handfast: the last lines of {}:\n", member.name));
        for line in &ended.last_lines {
            text.push_str(&format!("  {line}\n"));
        }
    }
    let words = member.command.iter();
    let words: Vec<String> = words.map(|word| quoted(&word.to_string_lossy())).collect();
    text.push_str(&format!(
        "handfast: to start it again, in another shell:\n  {}\n",
        words.join(" ")
    ));
    let _ = std::io::stderr().write_all(text.as_bytes());
}
