//! True runs are found true, whatever they look like, and with little work.

use proptest::prelude::*;

use super::traffic::{Shape, run};
use crate::{
    Budget, check_all, check_within,
    history::{Kv, Outcome, Response, Run},
};

/// The run as a recorder sees it that does not note revisions.
fn without_revisions(mut run: Run) -> Run {
    let strip = |kv: &mut Kv| *kv = Kv::seen(kv.key.clone(), kv.value.clone());
    fn walk(response: &mut Response, strip: &dyn Fn(&mut Kv)) {
        match response {
            Response::Get { kvs, .. } => kvs.iter_mut().for_each(strip),
            Response::Put { prev_kv } => prev_kv.iter_mut().for_each(strip),
            Response::Delete { prev_kvs, .. } => prev_kvs.iter_mut().for_each(strip),
            Response::Txn { responses, .. } => {
                responses.iter_mut().for_each(|one| walk(one, strip));
            }
            Response::Revoke => {}
        }
    }
    for operation in &mut run.operations {
        if let Outcome::Ok { revision, response } = &mut operation.outcome {
            *revision = 0;
            walk(response, &strip);
        }
    }
    run.finals.clear();
    run
}

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 100,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_true_run_breaks_no_promise(seed: u64, clients in 1_usize..16, doubt in 0_usize..30) {
        let shape = Shape { clients, doubt, ..Shape::default() };
        let report = check_all(&run(seed, shape));
        prop_assert!(report.is_good(), "{report}");
        prop_assert!(report.steps < 10_000, "{} steps", report.steps);
    }

    #[test]
    fn a_true_run_without_a_log_is_never_refused(seed: u64, doubt in 0_usize..8, held: bool) {
        let shape = Shape { doubt, with_log: false, with_holders: held, ..Shape::default() };
        let report = check_within(&run(seed, shape), Budget { steps: 50_000 });
        prop_assert!(report.violations.is_empty(), "{report}");
    }

    #[test]
    fn a_true_run_without_revisions_is_found_true(seed: u64, clients in 1_usize..5) {
        let shape = Shape {
            clients,
            operations: 60,
            doubt: 5,
            with_log: false,
            with_leases: false,
            // Compares of revisions mean nothing to who does not know them.
            with_txns: false,
            with_holders: false,
            ..Shape::default()
        };
        let run = without_revisions(run(seed, shape));
        let report = check_within(&run, Budget { steps: 50_000 });
        prop_assert!(report.violations.is_empty(), "{report}");
    }

    #[test]
    fn a_true_run_survives_its_file(seed: u64) {
        let run = run(seed, Shape { operations: 40, ..Shape::default() });
        let text = run.to_json().unwrap();
        prop_assert_eq!(Run::from_json(&text).unwrap(), run);
    }
}

#[test]
fn the_work_for_a_long_run_grows_with_its_length_only() {
    for clients in [8, 16] {
        let shape = Shape {
            clients,
            operations: 2000,
            keys: 20,
            ..Shape::default()
        };
        let report = check_all(&run(7, shape));
        assert!(report.is_good(), "{report}");
        assert!(report.steps < 40 * 2000, "{} steps", report.steps);
    }
}

/// A search that remembered too much once refused this run.
#[test]
fn states_that_differ_are_never_taken_for_the_same() {
    let shape = Shape {
        doubt: 2,
        with_log: false,
        ..Shape::default()
    };
    let report = check_all(&run(2_593_308_848_968_936_419, shape));
    assert!(report.is_good(), "{report}");
}
