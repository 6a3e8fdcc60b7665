//! `handfast alarm`: what the cluster warns of, and taking it back.
//!
//! Owns what an alarm means in words. Alarms are raised by servers.

use clap::{Args, Subcommand};
use handfast_core::Client;
use handfast_core::proto::etcdserverpb::{AlarmMember, AlarmType};
use serde_json::{Value, json};

use crate::connect::Connection;
use crate::exit::{self, Failure};
use crate::output::{Output, table};
use crate::roster::Roster;

const HEADINGS: [&str; 3] = ["ALARM", "MEMBER", "MEANING"];

/// Options of `alarm`.
#[derive(Args, Debug, Clone)]
pub(crate) struct AlarmArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand, Debug, Clone)]
enum Action {
    /// Show the alarms that are raised
    List,
    /// Take all alarms back, once their causes are gone
    Disarm,
}

pub(crate) async fn run(
    args: AlarmArgs,
    connection: &Connection,
    output: &mut Output,
) -> Result<i32, Failure> {
    let client = connection.client()?;
    let alarms = client.alarms().await?;
    if let Action::Disarm = args.action {
        for alarm in &alarms {
            client.alarm_disarm(*alarm).await?;
        }
    }
    let roster = match alarms.is_empty() {
        true => Roster::default(),
        false => roster(&client).await,
    };
    if output.is_json() {
        let all = alarms.iter().map(|alarm| json_of(alarm, &roster));
        output.json(&Value::Array(all.collect()))?;
        return Ok(exit::OK);
    }
    match (&args.action, alarms.is_empty()) {
        (_, true) => return output.line("no alarms").map(|()| exit::OK),
        (Action::Disarm, _) => output.line("taken back:")?,
        (Action::List, _) => {}
    }
    let rows: Vec<Vec<String>> = alarms.iter().map(|alarm| row(alarm, &roster)).collect();
    table(&HEADINGS, &rows)
        .iter()
        .try_for_each(|line| output.line(line))?;
    Ok(exit::OK)
}

/// Only for names, so a cluster in trouble must not be in the way.
async fn roster(client: &Client) -> Roster {
    Roster::read_anywhere(client).await.unwrap_or_default()
}

fn row(alarm: &AlarmMember, roster: &Roster) -> Vec<String> {
    vec![
        alarm.alarm().as_str_name().to_owned(),
        roster.label(alarm.member_id),
        meaning(alarm.alarm()).to_owned(),
    ]
}

fn meaning(alarm: AlarmType) -> &'static str {
    match alarm {
        AlarmType::Nospace => {
            "the quota is used up: no writes; delete, compact, then disarm, or raise the quota"
        }
        AlarmType::Corrupt => {
            "its data differ from the others': it answers nothing; replace the member, then disarm"
        }
        AlarmType::None => "",
    }
}

fn json_of(alarm: &AlarmMember, roster: &Roster) -> Value {
    json!({
        "alarm": alarm.alarm().as_str_name(),
        "member_id": format!("{:x}", alarm.member_id),
        "name": roster.by_id(alarm.member_id).map(|member| &member.name),
    })
}
