//! The measurement of lost leaders works; its figures are for docs/benchmarks.md, not for a test.

use handfast_tests::{
    Result,
    cluster::Program,
    failover::{rehearse, shown},
    harness::Subject,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_come_back_after_each_kind_of_loss() -> Result<()> {
    let findings = rehearse(Program::of(Subject::under_test())?).await?;
    let text = shown(&findings);
    println!("{text}");
    for kind in ["killed", "told to stop", "moved"] {
        assert!(text.contains(kind), "{kind} is missing:\n{text}");
    }
    Ok(())
}
