//! How many calls the steps of recipes cost, as a table.
//!
//! Owns counting and comparing. Knows nothing of the steps.

use std::fmt::Write as _;

use crate::relay::Relay;

/// Steps with the calls they may make and the calls they made.
#[derive(Debug, Default)]
pub struct Costs {
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    step: String,
    expected: usize,
    made: Vec<String>,
}

impl Costs {
    /// Takes down the calls that `relay` saw since it was asked last.
    pub fn row(&mut self, step: &str, expected: usize, relay: &Relay) {
        self.rows.push(Row {
            step: step.to_owned(),
            expected,
            made: relay.take_log(),
        });
    }

    /// Compares all rows at once, so that one look shows every step that costs more, or less,
    /// than it should.
    pub fn check(self) {
        let mut table = String::new();
        let mut wrong = Vec::new();
        for Row {
            step,
            expected,
            made,
        } in &self.rows
        {
            let _ = writeln!(
                table,
                "{step:44} {expected:>2} {:>2}  {}",
                made.len(),
                made.join(" ")
            );
            if made.len() != *expected {
                wrong.push(step.as_str());
            }
        }
        assert!(!self.rows.is_empty(), "nothing was counted");
        assert!(wrong.is_empty(), "{}:\n{table}", wrong.join(", "));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn costs(expected: usize) -> Costs {
        Costs {
            rows: vec![Row {
                step: "a step".to_owned(),
                expected,
                made: vec!["Txn".to_owned()],
            }],
        }
    }

    #[test]
    fn a_step_at_its_price_passes() {
        costs(1).check();
    }

    #[test]
    #[should_panic(expected = "a step")]
    fn a_step_that_costs_something_else_does_not() {
        costs(2).check();
    }
}
