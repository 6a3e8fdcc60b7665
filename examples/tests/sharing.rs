//! Runs the stories of configuration and of the index that is built once.

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
fn the_index_is_built_once_and_again_only_for_another_text() -> Result<()> {
    let lines = play("build_index")?;
    let count = |text: &str| lines.iter().filter(|line| line.contains(text)).count();
    assert_eq!(lines[0], "anna builds the index");
    assert!(lines[1].contains("no space left"), "{lines:?}");
    // Anna, then one of the two others, then Carl for the other text.
    assert_eq!(count("builds the index"), 3, "{lines:?}");
    assert_eq!(count("uses the index of 4 words"), 3 + 1, "{lines:?}");
    assert_eq!(count("there is 1 index"), 1, "{lines:?}");
    Ok(())
}
