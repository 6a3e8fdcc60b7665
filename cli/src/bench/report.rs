//! The figures of a bench, as a table or as JSON.
//!
//! Owns medians, ratios and their form. The server's CPU time per operation comes first.

use serde_json::{Value, json};

use super::gauge::Round;
use super::target::Target;
use super::{BenchArgs, Kind};
use crate::exit::Failure;
use crate::output::Output;

const PERCENTILES: [&str; 5] = ["p50", "p90", "p99", "p99.9", "max"];
/// Stands for a figure that is not known.
const UNKNOWN: &str = "-";

/// The rounds of one server.
pub(super) struct Summary {
    label: String,
    address: String,
    pids: Vec<u32>,
    pub(super) rounds: Vec<Round>,
}

/// Medians over the rounds of one server.
struct Figures {
    cpu_micros: Option<f64>,
    rate: Option<f64>,
    tries_each: Option<f64>,
    /// In microseconds, in the order of `PERCENTILES`.
    latencies: [Option<f64>; 5],
}

impl Summary {
    pub(super) fn new(target: &Target) -> Summary {
        Summary {
            label: target.label(),
            address: target.address(),
            pids: target.pids().to_vec(),
            rounds: Vec::new(),
        }
    }

    fn median(&self) -> Figures {
        let over = |figure: &dyn Fn(&Round) -> Option<f64>| {
            median(self.rounds.iter().filter_map(figure).collect())
        };
        Figures {
            cpu_micros: over(&Round::cpu_micros),
            rate: over(&|round| Some(round.rate())),
            tries_each: over(&Round::tries_each),
            latencies: [0, 1, 2, 3, 4]
                .map(|which| over(&|round| Some(round.percentiles[which] as f64 / 1e3))),
        }
    }
}

impl Figures {
    fn all(&self) -> Vec<Option<f64>> {
        [self.cpu_micros, self.rate]
            .into_iter()
            .chain(self.latencies)
            .collect()
    }

    fn json(&self) -> Value {
        let mut object = json!({ "server_cpu_us_per_op": self.cpu_micros, "ops_per_s": self.rate });
        for (name, latency) in PERCENTILES.iter().zip(self.latencies) {
            object[format!("{name}_us")] = json!(latency);
        }
        if let Some(tries) = self.tries_each {
            object["tries_per_op"] = json!(tries);
        }
        object
    }
}

/// The middle of some figures, or the mean of the two in the middle.
pub(super) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        length if length % 2 == 1 => Some(values[middle]),
        _ => Some((values[middle - 1] + values[middle]) / 2.0),
    }
}

/// The lines above the table.
pub(super) fn heading(
    args: &BenchArgs,
    targets: &[Target],
    output: &mut Output,
) -> Result<(), Failure> {
    for target in targets {
        let process = match target.pids() {
            [] => "process not found: no CPU time (give --pid)".to_owned(),
            [pid] => format!("process {pid}"),
            pids => {
                let pids: Vec<String> = pids.iter().map(u32::to_string).collect();
                format!("processes {}, their CPU time added up", pids.join(", "))
            }
        };
        output.line(format!("{}: {process}", target.address()))?;
    }
    output.line(format!(
        "{} in flight over {} connections, values of {} bytes; medians of the rounds, in µs\n",
        args.inflight, args.connections, args.value_size
    ))?;
    output.line(row(
        "WORKLOAD",
        "SERVER",
        &["CPU µs/op", "ops/s", "p50", "p90", "p99", "p99.9", "max"].map(str::to_owned),
    ))?;
    output.flush()
}

/// One workload's figures.
pub(super) fn print(
    kind: Kind,
    args: &BenchArgs,
    summaries: &[Summary],
    output: &mut Output,
) -> Result<(), Failure> {
    if output.is_json() {
        return output.json(&json_of(kind, args, summaries));
    }
    let mut name = kind.name();
    for summary in summaries {
        let figures: Vec<String> = summary.median().all().into_iter().map(number).collect();
        output.line(row(&name, &summary.label, &figures))?;
        name.clear();
        if let Some(tries) = summary.median().tries_each {
            output.line(format!("{:16}{tries:.3} tries per operation", ""))?;
        }
    }
    if let Some(ratios) = ratios(summaries) {
        let ratios: Vec<String> = ratios.into_iter().map(times).collect();
        output.line(row("", "first / second", &ratios))?;
    }
    Ok(())
}

fn row(workload: &str, server: &str, figures: &[String]) -> String {
    let figures: Vec<String> = figures
        .iter()
        .map(|figure| format!("{figure:>11}"))
        .collect();
    format!("{workload:<16}{server:<22}{}", figures.concat())
}

/// Three digits that matter.
pub(super) fn number(value: Option<f64>) -> String {
    match value {
        None => UNKNOWN.to_owned(),
        Some(value) if value >= 100.0 => format!("{value:.0}"),
        Some(value) if value >= 10.0 => format!("{value:.1}"),
        Some(value) => format!("{value:.2}"),
    }
}

/// A ratio, with what it is.
pub(super) fn times(ratio: Option<f64>) -> String {
    ratio.map_or_else(|| UNKNOWN.to_owned(), |ratio| format!("{ratio:.2}x"))
}

/// Medians of the first server divided by those of the second, figure by figure.
fn ratios(summaries: &[Summary]) -> Option<Vec<Option<f64>>> {
    let [first, second] = summaries else {
        return None;
    };
    let pairs = first.median().all().into_iter().zip(second.median().all());
    Some(
        pairs
            .map(|(first, second)| match (first, second) {
                (Some(first), Some(second)) if second > 0.0 => Some(first / second),
                _ => None,
            })
            .collect(),
    )
}

fn json_of(kind: Kind, args: &BenchArgs, summaries: &[Summary]) -> Value {
    let servers: Vec<Value> = summaries
        .iter()
        .map(|summary| {
            json!({
                "endpoint": summary.address,
                "pid": summary.pids.first().filter(|_| summary.pids.len() == 1),
                "pids": summary.pids,
                "median": summary.median().json(),
                "rounds": summary.rounds.iter().map(round_json).collect::<Vec<_>>(),
            })
        })
        .collect();
    let mut object = json!({
        "workload": kind.name(),
        "inflight": args.inflight,
        "connections": args.connections,
        "value_size": args.value_size,
        "servers": servers,
    });
    if let Some(ratios) = ratios(summaries) {
        let names = ["server_cpu_us_per_op", "ops_per_s"]
            .map(str::to_owned)
            .into_iter();
        let names = names.chain(PERCENTILES.map(|name| format!("{name}_us")));
        let ratios: serde_json::Map<String, Value> = names
            .zip(ratios.into_iter().map(|ratio| json!(ratio)))
            .collect();
        object["first_to_second"] = Value::Object(ratios);
    }
    object
}

fn round_json(round: &Round) -> Value {
    let mut object = json!({
        "ops": round.operations,
        "seconds": round.elapsed.as_secs_f64(),
        "server_cpu_us_per_op": round.cpu_micros(),
        "ops_per_s": round.rate(),
    });
    for (name, nanos) in PERCENTILES.iter().zip(round.percentiles) {
        object[format!("{name}_us")] = json!(nanos as f64 / 1e3);
    }
    object
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn summary(cpu_micros: &[u64]) -> Summary {
        let round = |cpu: &u64| Round {
            operations: 1000,
            tries: 0,
            elapsed: Duration::from_secs(1),
            cpu: Some(Duration::from_millis(*cpu)),
            percentiles: [1000, 2000, 3000, 4000, 5000],
        };
        Summary {
            label: "s".into(),
            address: "s".into(),
            pids: Vec::new(),
            rounds: cpu_micros.iter().map(round).collect(),
        }
    }

    #[test]
    fn median_of_even_and_odd_and_nothing() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(Vec::new()), None);
    }

    #[test]
    fn cpu_is_first_and_the_ratio_is_of_the_medians() {
        let summaries = [summary(&[10, 20, 90]), summary(&[40])];
        assert_eq!(summaries[0].median().all()[0], Some(20.0));
        assert_eq!(ratios(&summaries).unwrap()[0], Some(0.5));
        assert!(ratios(&summaries[..1]).is_none());
    }
}
