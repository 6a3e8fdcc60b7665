//! What was measured, for people and for files.
//!
//! Must not know how it was measured.

use std::{fmt::Write as _, time::Duration};

use serde_json::{Value, json};

use super::{Findings, Plan};

/// One row for each server and kind of blow.
pub(super) fn shown(findings: &[Findings]) -> String {
    let mut text = String::from(
        "| what | server | n | median ms | p99 ms | max ms |\n|---|---|---|---|---|---|\n",
    );
    type Samples = fn(&Findings) -> &[Duration];
    let kinds: [(&str, Samples); 3] = [
        ("leader killed: first write after", |it| &it.kills),
        ("leader told to stop: longest gap", |it| &it.terminations),
        ("leadership moved: longest gap", |it| &it.moves),
    ];
    for (what, samples) in kinds {
        for found in findings.iter().filter(|it| !samples(it).is_empty()) {
            let sorted = sorted(samples(found));
            let at = |percent| rank(&sorted, percent);
            let (count, name) = (sorted.len(), &found.name);
            let (median, p99, max) = (at(50), at(99), at(100));
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "| {what} | {name} | {count} | {median} | {p99} | {max} |"
            );
        }
    }
    for found in findings {
        let (name, count) = (&found.name, found.false_elections);
        let minutes = found.watched.as_secs_f64() / 60.0;
        let _ = writeln!(
            text,
            "\n{name}: {count} elections without a cause in {minutes:.1} min"
        );
    }
    text
}

/// Everything, with all samples.
pub(super) fn to_json(plan: &Plan, findings: &[Findings]) -> Value {
    let millis = |samples: &[Duration]| -> Vec<f64> {
        samples
            .iter()
            .map(|it| it.as_secs_f64() * 1_000.0)
            .collect()
    };
    let servers: Vec<Value> = findings
        .iter()
        .map(|it| {
            json!({
                "server": it.name,
                "kill_ms": millis(&it.kills),
                "terminate_ms": millis(&it.terminations),
                "move_ms": millis(&it.moves),
                "false_elections": it.false_elections,
                "watched_seconds": it.watched.as_secs_f64(),
            })
        })
        .collect();
    json!({ "members": plan.size, "burners": plan.burners, "servers": servers })
}

fn sorted(samples: &[Duration]) -> Vec<Duration> {
    let mut sorted = samples.to_vec();
    sorted.sort();
    sorted
}

/// The nearest rank, in milliseconds; the last sample for 100.
fn rank(sorted: &[Duration], percent: usize) -> u128 {
    let place = (sorted.len() * percent).div_ceil(100).max(1) - 1;
    sorted.get(place).map_or(0, Duration::as_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_samples() {
        let samples: Vec<Duration> = (1..=30).rev().map(Duration::from_millis).collect();
        let sorted = sorted(&samples);
        assert_eq!(
            (rank(&sorted, 50), rank(&sorted, 99), rank(&sorted, 100)),
            (15, 30, 30)
        );
        assert_eq!(rank(&sorted[..1], 50), 1);
    }

    #[test]
    fn a_row_for_each_server_that_was_hit() {
        let found = Findings {
            name: "one".to_owned(),
            kills: vec![Duration::from_millis(7)],
            ..Findings::default()
        };
        let text = shown(&[found]);
        assert!(text.contains("| one | 1 | 7 | 7 | 7 |"), "{text}");
        assert!(!text.contains("moved"), "{text}");
    }
}
