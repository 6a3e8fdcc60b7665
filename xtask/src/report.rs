//! Steps with names, durations and counts.

use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use crate::{Result, failures};

/// The most failures that are told again at the end.
const TOLD: usize = 30;

/// What a step counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    /// What is known of those that failed, a line for each.
    pub(crate) failures: Vec<String>,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, more: Counts) {
        self.passed += more.passed;
        self.failed += more.failed;
        self.failures.extend(more.failures);
    }
}

/// The outcome of all steps so far.
#[derive(Debug, Default)]
pub(crate) struct Report {
    total: Counts,
    lines: Vec<String>,
    begun: Option<Instant>,
}

impl Report {
    /// Runs one step and tells its failures at once, for of a long output any part may be all that
    /// is kept. A step without tests of its own counts as one.
    pub(crate) fn step(&mut self, name: &str, work: impl FnOnce() -> Result<Counts>) {
        self.begun.get_or_insert_with(Instant::now);
        println!("==> {name}");
        let begun = Instant::now();
        let (mut counts, trouble) = match work() {
            Ok(counts) => (counts, None),
            Err(error) => (Counts::default(), Some(error.to_string())),
        };
        if let Some(trouble) = trouble {
            println!("{trouble}");
            counts.failed += 1;
            counts.failures.push(trouble);
        } else if counts == Counts::default() {
            counts.passed += 1;
        }
        let verdict = if counts.failed == 0 { "ok" } else { "FAILED" };
        let took = seconds(begun.elapsed());
        let line = format!(
            "{verdict:>6} {took:>7}  {name} ({} passed, {} failed)",
            counts.passed, counts.failed
        );
        println!("{line}");
        for failure in counts.failures.iter().take(TOLD) {
            println!("FAILED {failure}");
        }
        println!();
        self.lines.push(line);
        for failure in &mut counts.failures {
            *failure = format!("{name}: {failure}");
        }
        self.total += counts;
    }

    /// Prints the summary, with what is known of each failure, for the end of a long output is
    /// what is seen of it. The last line is `N passed, N failed`.
    ///
    /// # Errors
    /// When anything failed.
    pub(crate) fn finish(self) -> Result<()> {
        println!("{}", self.lines.join("\n"));
        let took = self.begun.map_or(Duration::ZERO, |begun| begun.elapsed());
        println!("all steps took {}", seconds(took));
        for failure in self.total.failures.iter().take(TOLD) {
            println!("FAILED {failure}");
        }
        println!("{} passed, {} failed", self.total.passed, self.total.failed);
        if self.total.failed == 0 {
            Ok(())
        } else {
            Err("not everything passed".into())
        }
    }
}

/// Runs a command with its output shown, and counts the tests it reports.
///
/// # Errors
/// When it cannot be started, or fails without having reported a failed test.
pub(crate) fn counted(command: &mut Command) -> Result<Counts> {
    let shown = format!("{command:?}");
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut output = String::new();
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).lines() {
            let line = line?;
            println!("{line}");
            output.extend([&*line, "\n"]);
        }
    }
    let counts = counts_of(&output);
    let status = child.wait()?;
    if !status.success() && counts.failed == 0 {
        return Err(format!("{shown}: {status}").into());
    }
    Ok(counts)
}

/// What the output of a test runner says in sum.
pub(crate) fn counts_of(output: &str) -> Counts {
    let mut counts = Counts::default();
    for more in output.lines().filter_map(tests_of) {
        counts += more;
    }
    if counts.failed > 0 {
        counts.failures = failures::told(output);
    }
    counts
}

/// The counts in a summary line of cargo's test runner, of pytest or of Node's.
fn tests_of(line: &str) -> Option<Counts> {
    let node = ["# pass ", "# fail ", "# cancelled "].map(|word| line.strip_prefix(word));
    if let Some(count) = node.iter().flatten().next() {
        let count = count.parse().ok()?;
        let passed = if node[0].is_some() { count } else { 0 };
        return Some(Counts {
            passed,
            failed: count - passed,
            failures: Vec::new(),
        });
    }
    let is_cargo = line.starts_with("test result:");
    // A run of more than a minute is told in minutes, too: `in 205.71s (0:03:25)`.
    let timed = line.trim_matches('=').trim();
    let timed = timed.trim_end_matches(|it: char| "(:)".contains(it) || it.is_ascii_digit());
    let is_pytest = line.contains(" in ") && timed.trim().ends_with('s');
    if !is_cargo && !is_pytest {
        return None;
    }
    let words: Vec<&str> = line
        .split([' ', ',', ';', '.'])
        .filter(|it| !it.is_empty())
        .collect();
    let before = |noun: &str| {
        let pair = words.windows(2).find(|pair| pair[1] == noun);
        pair.and_then(|pair| pair[0].parse::<u64>().ok())
    };
    let (passed, failed) = (before("passed"), before("failed"));
    if passed.is_none() && failed.is_none() {
        return None;
    }
    let errors = before("error").or(before("errors")).unwrap_or(0);
    Some(Counts {
        passed: passed.unwrap_or(0),
        failed: failed.unwrap_or(0) + errors,
        failures: Vec::new(),
    })
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summaries_of_cargo_and_pytest_are_counted() {
        let cargo = "test result: FAILED. 12 passed; 3 failed; 0 ignored; 0 measured; 0 filtered";
        let sum = |line| tests_of(line).map(|it| (it.passed, it.failed));
        assert_eq!(sum(cargo), Some((12, 3)));
        let pytest = "=========== 1 failed, 20 passed, 1 error in 3.21s ===========";
        assert_eq!(sum(pytest), Some((20, 2)));
        let long = tests_of("236 passed in 97.54s (0:01:37)").map(|it| it.passed);
        assert_eq!(long, Some(236));
        assert_eq!(sum("# pass 41"), Some((41, 0)));
        assert_eq!(sum("# cancelled 2"), Some((0, 2)));
        assert_eq!(sum("# tests 43"), None);
        assert_eq!(tests_of("test foo ... ok"), None);
        assert_eq!(tests_of("waited in vain for 3s"), None);
        let simulated = "200 seeds: 2 hours in 17 s, 9 operations (9 answered), 1 failed";
        assert_eq!(tests_of(simulated), None);
    }

    #[test]
    fn a_command_that_fails_without_a_failed_test_is_an_error() {
        assert!(counted(&mut Command::new("false")).is_err());
        assert_eq!(
            counted(&mut Command::new("true")).unwrap(),
            Counts::default()
        );
        let told = "echo 'test result: FAILED. 1 passed; 2 failed;'; exit 1";
        let counts = counted(Command::new("sh").args(["-c", told])).unwrap();
        assert_eq!((counts.passed, counts.failed), (1, 2));
    }

    #[test]
    fn a_report_with_a_failure_fails() {
        let mut report = Report::default();
        report.step("fine", || Ok(Counts::default()));
        assert_eq!((report.total.passed, report.total.failed), (1, 0));
        report.step("broken", || Err("why".into()));
        assert_eq!((report.total.passed, report.total.failed), (1, 1));
        assert_eq!(report.total.failures, ["broken: why"]);
        assert!(report.finish().is_err());
    }
}
