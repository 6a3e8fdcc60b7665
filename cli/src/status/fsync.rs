//! How long a member's log takes to reach the disk, read from its metrics.
//!
//! Owns the scrape and the quantiles. Everything that does not fit means: not known.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Cumulative buckets of the durations, as etcd names them.
const METRIC: &str = "etcd_disk_wal_fsync_duration_seconds_bucket";
/// Longer answers are no metrics.
const ANSWER_MAX_BYTES: u64 = 8 * 1024 * 1024;
/// A status must not wait for a port that answers no HTTP.
const PATIENCE: Duration = Duration::from_secs(2);

/// Seconds that half, and 99 of 100, of the flushes took at most, since the member started.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Fsync {
    pub(super) p50: f64,
    pub(super) p99: f64,
}

/// Asks the member that clients reach at `endpoint`.
pub(super) async fn ask(endpoint: &str) -> Option<Fsync> {
    let text = tokio::time::timeout(PATIENCE, get_metrics(endpoint)).await;
    parse(&text.ok()??)
}

async fn get_metrics(endpoint: &str) -> Option<String> {
    let address = endpoint.strip_prefix("http://")?;
    let mut stream = TcpStream::connect(address).await.ok()?;
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    let mut stream = stream.take(ANSWER_MAX_BYTES);
    stream.read_to_end(&mut answer).await.ok()?;
    let answer = String::from_utf8(answer).ok()?;
    // Chunk sizes between the lines do not look like the metric, so they need no decoding, but
    // for a line that a chunk's end falls into: its bucket is then missing or too small.
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.starts_with("HTTP/1.1 200").then(|| body.to_owned())
}

fn parse(text: &str) -> Option<Fsync> {
    let mut buckets: Vec<(f64, f64)> = text.lines().filter_map(bucket).collect();
    buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    let all = buckets.last()?.1;
    if all == 0.0 {
        return None;
    }
    Some(Fsync {
        p50: quantile(&buckets, 0.5 * all),
        p99: quantile(&buckets, 0.99 * all),
    })
}

/// `…_bucket{le="0.001"} 42` as bound and count.
fn bucket(line: &str) -> Option<(f64, f64)> {
    let rest = line.strip_prefix(METRIC)?;
    let (_, rest) = rest.split_once("le=\"")?;
    let (bound, rest) = rest.split_once('"')?;
    let count = rest.rsplit_once(' ')?.1;
    // `+Inf` is what a number is called here, too.
    Some((bound.parse().ok()?, count.trim().parse().ok()?))
}

/// Where the `rank`th value lies, as if values were spread evenly within a bucket.
fn quantile(buckets: &[(f64, f64)], rank: f64) -> f64 {
    let (mut bound, mut count) = (0.0, 0.0);
    for &(next_bound, next_count) in buckets {
        if next_count >= rank && next_count > count {
            if next_bound.is_infinite() {
                return bound;
            }
            return bound + (next_bound - bound) * (rank - count) / (next_count - count);
        }
        (bound, count) = (next_bound, next_count);
    }
    bound
}

/// Seconds for people.
pub(super) fn readable(seconds: f64) -> String {
    match seconds * 1e3 {
        ms if ms < 1.0 => format!("{:.0}µs", ms * 1e3),
        ms if ms < 10.0 => format!("{ms:.1}ms"),
        ms if ms < 1000.0 => format!("{ms:.0}ms"),
        ms => format!("{:.1}s", ms / 1e3),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const METRICS: &str = "\
# TYPE etcd_disk_wal_fsync_duration_seconds histogram
etcd_disk_wal_fsync_duration_seconds_bucket{le=\"0.001\"} 40
etcd_disk_wal_fsync_duration_seconds_bucket{le=\"0.002\"} 60
etcd_disk_wal_fsync_duration_seconds_bucket{le=\"0.004\"} 99
etcd_disk_wal_fsync_duration_seconds_bucket{le=\"+Inf\"} 100
etcd_disk_wal_fsync_duration_seconds_sum 0.2
etcd_disk_wal_fsync_duration_seconds_count 100
";

    #[test]
    fn quantiles_lie_within_their_buckets() {
        let fsync = parse(METRICS).unwrap();
        assert!((fsync.p50 - 0.0015).abs() < 1e-9, "{fsync:?}");
        assert!((fsync.p99 - 0.004).abs() < 1e-9, "{fsync:?}");
    }

    #[test]
    fn beyond_the_last_bound_only_the_bound_is_known() {
        let text = METRICS.replace(" 99\n", " 60\n");
        assert_eq!(parse(&text).unwrap().p99, 0.004);
    }

    #[test]
    fn nothing_measured_is_nothing_known() {
        assert_eq!(parse("etcd_server_has_leader 1\n"), None);
        let none: String = METRICS
            .lines()
            .filter_map(|line| Some(format!("{} 0\n", line.rsplit_once(' ')?.0)))
            .collect();
        assert_eq!(parse(&none), None);
    }

    #[test]
    fn durations_are_short() {
        let texts = [0.0004, 0.0042, 0.25, 2.5].map(readable);
        assert_eq!(texts, ["400µs", "4.2ms", "250ms", "2.5s"]);
    }
}
