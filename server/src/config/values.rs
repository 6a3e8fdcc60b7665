//! Reading one value from its text: numbers, switches, durations, lists.
//!
//! Owns value syntax. It must not know which setting a value is for.

use std::time::Duration;

use super::{Scheme, Url};

/// What is wrong with a value, as a phrase that can follow the name of the setting.
pub(super) type Problem = String;

pub(super) fn boolean(text: &str) -> Result<bool, Problem> {
    match text {
        "true" | "1" | "t" | "T" | "TRUE" | "True" => Ok(true),
        "false" | "0" | "f" | "F" | "FALSE" | "False" => Ok(false),
        _ => Err(format!("`{text}` is neither true nor false")),
    }
}

pub(super) fn number<N: std::str::FromStr>(text: &str) -> Result<N, Problem> {
    text.parse().map_err(|_| {
        let sign = if text.starts_with('-') {
            "a number that fits (not negative)"
        } else {
            "a number"
        };
        format!("`{text}` is not {sign}")
    })
}

/// A count of milliseconds, as `--heartbeat-interval` wants it; `100ms` is understood too.
pub(super) fn milliseconds(text: &str) -> Result<Duration, Problem> {
    match text.parse::<u64>() {
        Ok(milliseconds) => Ok(Duration::from_millis(milliseconds)),
        Err(_) => duration(text),
    }
}

/// A duration such as `10m`, `1h30m`, `1.5s` or `0`.
pub(super) fn duration(text: &str) -> Result<Duration, Problem> {
    let wrong = || format!("`{text}` is not a duration; write it like 500ms, 10s, 5m or 2h");
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    if text.is_empty() {
        return Err(wrong());
    }
    let mut rest = text;
    let mut seconds = 0.0_f64;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .ok_or_else(wrong)?;
        let amount: f64 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = &rest[digits..];
        let end = rest
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(rest.len());
        let unit = match &rest[..end] {
            "ns" => 1e-9,
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return Err(wrong()),
        };
        seconds += amount * unit;
        rest = &rest[end..];
    }
    Duration::try_from_secs_f64(seconds).map_err(|_| wrong())
}

pub(super) fn urls(text: &str) -> Result<Vec<Url>, Problem> {
    list(text).map(str::parse).collect()
}

/// `n1=http://a:2380,n2=http://b:2380`.
pub(super) fn members(text: &str) -> Result<Vec<(String, Url)>, Problem> {
    list(text)
        .map(|entry| {
            let (name, url) = entry.split_once('=').ok_or_else(|| {
                format!("`{entry}` is not NAME=URL, like n1=http://10.0.0.1:2380")
            })?;
            Ok((name.trim().to_owned(), url.trim().parse()?))
        })
        .collect()
}

/// `10.0.0.1:2380,10.0.0.2:2380`, where members can be asked to be let in.
pub(super) fn join_addresses(text: &str) -> Result<Vec<Url>, Problem> {
    let addresses: Vec<Url> = list(text)
        .map(|part| match part.contains("://") {
            true => part.parse(),
            false => format!("http://{part}").parse(),
        })
        .collect::<Result<_, Problem>>()
        .map_err(|problem| format!("{problem} (HOST:PORT of a member's peer address)"))?;
    if addresses.is_empty() {
        return Err("name the peer address of a member: HOST:PORT".to_owned());
    }
    match addresses.iter().find(|url| url.scheme() != Scheme::Http) {
        None => Ok(addresses),
        Some(url) => Err(format!(
            "{url} cannot be asked: members talk over TCP without TLS, so write HOST:PORT"
        )),
    }
}

pub(super) fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
}

/// One of a few words.
pub(super) fn choice<T: Copy>(text: &str, choices: &[(&str, T)]) -> Result<T, Problem> {
    choices
        .iter()
        .find(|(word, _)| *word == text)
        .map(|(_, value)| *value)
        .ok_or_else(|| {
            let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
            format!("`{text}` is not one of {}", words.join(", "))
        })
}

/// The nearest of `names` to `given`, if it is near enough to be a slip of the fingers.
pub(super) fn nearest<'a>(given: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (given.len() / 3).max(2);
    names
        .map(|name| (edit_distance(given, name), name))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Levenshtein distance in bytes, one row at a time.
fn edit_distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, right) in b.bytes().enumerate() {
            let replace = diagonal + usize::from(left != right);
            diagonal = row[j + 1];
            row[j + 1] = replace.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
