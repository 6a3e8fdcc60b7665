//! Instruction counts of fixed workloads, against recorded ones.
//!
//! Seconds mean little on a shared machine; instructions under callgrind hardly change from run to
//! run. Owns the comparison. The workloads are in `tests/workloads`.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{Result, metadata::cargo, provide, root};

/// Where the recorded numbers are, from the top: one line `workload instructions-per-operation`.
const RECORD: &str = "tests/workloads/instructions.txt";

/// As released, but for optimisation across crates, which takes longer than all of the counting.
const PROFILE: &str = "counted";

/// Growth beyond this fails. Hash seeds and thread timing move a count by two or three percent.
const TOLERANCE_PERCENT: f64 = 10.0;

/// Operations of the shorter run; the longer one has twice as many, and the difference of the two
/// leaves out what starting and stopping costs.
const OPERATIONS: u64 = 2_000;

/// What to do with the counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Fail when one has grown.
    Compare,
    /// Write them down.
    Record,
}

/// Counts all workloads.
///
/// # Errors
/// When one needs more instructions than recorded, beyond the tolerance, or cannot be run.
pub(crate) fn run(mode: Mode) -> Result<()> {
    if !provide::is_installed("valgrind") {
        return Err("valgrind is needed: apt-get install valgrind".into());
    }
    let program = build()?;
    let listed = Command::new(&program).arg("list").output()?;
    let names = String::from_utf8(listed.stdout)?;
    let mut counts = BTreeMap::new();
    for name in names.split_whitespace() {
        let short = instructions(&program, name, OPERATIONS)?;
        let long = instructions(&program, name, 2 * OPERATIONS)?;
        counts.insert(name.to_owned(), long.saturating_sub(short) / OPERATIONS);
    }
    let path = root().join(RECORD);
    if mode == Mode::Record {
        let lines = counts
            .iter()
            .map(|(name, count)| format!("{name} {count}\n"));
        fs::write(&path, lines.collect::<String>())?;
        println!("recorded {} workloads in {RECORD}", counts.len());
        return Ok(());
    }
    let recorded = parse(&fs::read_to_string(&path)?)?;
    let verdicts = compare(&counts, &recorded);
    for (text, _) in &verdicts {
        println!("{text}");
    }
    if verdicts.iter().all(|(_, is_fine)| *is_fine) {
        return Ok(());
    }
    Err("slower than recorded; if that is meant, run `cargo xtask bench --record`".into())
}

/// One line for each workload, and whether it is within the tolerance.
fn compare(
    counts: &BTreeMap<String, u64>,
    recorded: &BTreeMap<String, u64>,
) -> Vec<(String, bool)> {
    let mut verdicts = Vec::new();
    for (name, &count) in counts {
        let Some(&before) = recorded.get(name) else {
            verdicts.push((format!("{name}: {count}, but nothing is recorded"), false));
            continue;
        };
        let change = (count as f64 / before.max(1) as f64 - 1.0) * 100.0;
        let is_fine = change <= TOLERANCE_PERCENT;
        let remark = match is_fine {
            false => "  TOO SLOW",
            true if change < -TOLERANCE_PERCENT => "  faster: record it",
            true => "",
        };
        let numbers = format!("{count:>9} instructions, recorded {before:>9}");
        verdicts.push((
            format!("{name:<16} {numbers} ({change:+.1} %){remark}"),
            is_fine,
        ));
    }
    for name in recorded.keys().filter(|name| !counts.contains_key(*name)) {
        verdicts.push((
            format!("{name} is recorded, but there is no such workload"),
            false,
        ));
    }
    verdicts
}

fn parse(text: &str) -> Result<BTreeMap<String, u64>> {
    let mut counts = BTreeMap::new();
    for line in text.lines() {
        let (name, count) = line
            .split_once(' ')
            .ok_or("a recorded line is `workload count`")?;
        counts.insert(name.to_owned(), count.trim().parse()?);
    }
    Ok(counts)
}

/// Builds the workloads with optimisation and gives the program.
fn build() -> Result<PathBuf> {
    let package = ["build", "--package", "handfast-workloads"];
    let mut command = Command::new(cargo());
    command
        .args(package)
        .args(["--profile", PROFILE, "--quiet"])
        .current_dir(root());
    provide::run(&mut command)?;
    Ok(root().join("target").join(PROFILE).join("workloads"))
}

/// Instructions that a run of a workload takes, all threads together.
fn instructions(program: &Path, workload: &str, operations: u64) -> Result<u64> {
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
    command
        .arg(program)
        .args([workload, &operations.to_string()]);
    let output = command.stdin(Stdio::null()).output()?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    if !output.status.success() {
        return Err(format!("{workload}: {}\n{text}", output.status).into());
    }
    collected(&text).ok_or_else(|| format!("{workload}: no count in\n{text}").into())
}

/// The number in callgrind's line `Collected : N`.
fn collected(text: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.contains("Collected :"))?;
    line.rsplit(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(count: u64) -> BTreeMap<String, u64> {
        BTreeMap::from([("put".to_owned(), count)])
    }

    #[test]
    fn growth_beyond_the_tolerance_fails() {
        let verdict = |count, recorded| compare(&one(count), &one(recorded))[0].1;
        assert!(verdict(100, 100) && verdict(109, 100) && verdict(50, 100));
        assert!(!verdict(111, 100));
    }

    #[test]
    fn workloads_and_records_must_match() {
        let none = BTreeMap::new();
        assert!(!compare(&one(1), &none)[0].1);
        assert!(!compare(&none, &one(1))[0].1);
    }

    #[test]
    fn callgrinds_count_and_the_record_are_read() {
        assert_eq!(
            collected("==1== \n==1== Collected : 123456\n==1==\n"),
            Some(123_456)
        );
        assert_eq!(parse("put 5\nrange 7\n").unwrap()["range"], 7);
        assert!(parse("put\n").is_err());
    }
}
