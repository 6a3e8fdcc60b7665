//! Runs the stories of the recipes, each with a server of its own.

use std::process::Command;

use handfast_tests::{Result, harness::example};

/// What the example printed, line by line.
fn play(name: &str) -> Result<Vec<String>> {
    let output = Command::new(example(name)?).output()?;
    let text = String::from_utf8(output.stdout)?;
    assert!(
        output.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(text.lines().map(str::to_owned).collect())
}

#[test]
fn configuration_is_checked_whole_and_there_without_a_server() -> Result<()> {
    let expected = [
        "starts with 2 workers and 10 requests",
        "changes to 20 workers and 50 requests",
        "is not published: 2 keys changed meanwhile",
        "refuses: it is refused by the program: 1000 workers have too little to do",
        "stays with 20 workers and 50 requests",
        "changes to 30 workers and 50 requests",
        "starts without a server with 30 workers and 50 requests",
    ];
    assert_eq!(play("config")?, expected);
    Ok(())
}

#[test]
fn the_index_is_built_by_one_leader_and_used_by_all() -> Result<()> {
    let expected = [
        "3 led, 1 built the index",
        "and:one,two",
        "lease:one,two",
        "lock:one",
        "watch:two",
    ];
    assert_eq!(play("index")?, expected);
    Ok(())
}

#[test]
fn calls_are_spread_by_weight_and_avoid_who_drains_or_left() -> Result<()> {
    let expected = [
        "listed: n1=10.0.0.1:80 n2=10.0.0.2:80 n3=10.0.0.3:80",
        "by weight: n1=10 n2=20 n3=30",
        "backends of user 7: 1",
        "n1 drains, calls go to: n2 n3",
        "n1 updated",
        "n2 left",
        "still there: 10.0.0.3:80",
    ];
    assert_eq!(play("discovery")?, expected);
    Ok(())
}

#[test]
fn the_log_is_written_in_the_order_of_the_line() -> Result<()> {
    let expected = ["waiting: 3", "written by: ada bob cyd", "no deadlock"];
    assert_eq!(play("shared_log")?, expected);
    Ok(())
}

#[test]
fn jobs_come_in_order_again_when_they_failed_and_under_each_condition() -> Result<()> {
    let expected = [
        "pushed again: true",
        "first in, first out: a b c",
        "result: JOB B",
        "failed: attempt 1",
        "failed: attempt 2",
        "dead letter: division by zero: attempt 2",
        "two of three: 2 items are ready, and work begins at 3",
        "three of three: x y z",
        "the gate's task first: prepare behind",
        "in order of dependence: compile a compile b link",
        "not started: the queue was not started; `queue start` does",
        "started: x",
    ];
    assert_eq!(play("jobs")?, expected);
    Ok(())
}

#[test]
fn a_node_that_leaves_and_one_that_dies_are_told_apart() -> Result<()> {
    let expected = [
        "n1 joined",
        "n2 joined",
        "n3 joined",
        "n1 left",
        "n2 died",
        "left over: n3",
    ];
    assert_eq!(play("monitor")?, expected);
    Ok(())
}
