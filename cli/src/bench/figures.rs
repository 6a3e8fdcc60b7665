//! Figures with a name, gathered server by server.
//!
//! Owns their units and their form. It must not know what they mean.

use std::time::Duration;

use serde_json::{Value, json};

use super::instance::Instance;
use super::report::{median, number, times};
use crate::exit::Failure;
use crate::output::{Output, table};

/// What a figure is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Millis,
    MicrosEach,
    PerSecond,
    Megabytes,
    Count,
}

impl Unit {
    fn name(self) -> &'static str {
        match self {
            Unit::Millis => "ms",
            Unit::MicrosEach => "µs/op",
            Unit::PerSecond => "/s",
            Unit::Megabytes => "MB",
            Unit::Count => "",
        }
    }
}

/// A measured amount, as its unit counts it.
pub(super) trait Amount {
    fn in_unit(self, unit: Unit) -> f64;
}

impl Amount for f64 {
    fn in_unit(self, _: Unit) -> f64 {
        self
    }
}

impl Amount for Duration {
    fn in_unit(self, _: Unit) -> f64 {
        self.as_secs_f64() * 1e3
    }
}

/// Bytes, or a count.
impl Amount for u64 {
    fn in_unit(self, unit: Unit) -> f64 {
        match unit {
            Unit::Megabytes => self as f64 / 1e6,
            _ => self as f64,
        }
    }
}

struct Figure {
    name: String,
    unit: Unit,
    /// All that was measured, server by server.
    values: Vec<Vec<f64>>,
}

/// All figures, in the order they were first measured.
pub(super) struct Figures {
    servers: usize,
    figures: Vec<Figure>,
}

impl Figures {
    pub(super) fn new(servers: usize) -> Figures {
        Figures {
            servers,
            figures: Vec::new(),
        }
    }

    /// Adds what was measured on a server.
    pub(super) fn add(
        &mut self,
        server: usize,
        name: impl Into<String>,
        unit: Unit,
        amount: impl Amount,
    ) {
        let name = name.into();
        let known = self.figures.iter().position(|figure| figure.name == name);
        let at = known.unwrap_or_else(|| {
            self.figures.push(Figure {
                name,
                unit,
                values: vec![Vec::new(); self.servers],
            });
            self.figures.len() - 1
        });
        self.figures[at].values[server].push(amount.in_unit(unit));
    }

    /// Medians side by side, or everything as JSON behind `heading`, which says what was done.
    pub(super) fn print(
        &self,
        heading: Value,
        servers: &[Instance],
        output: &mut Output,
    ) -> Result<(), Failure> {
        let labels: Vec<&str> = servers.iter().map(Instance::label).collect();
        if output.is_json() {
            return output.json(&self.json(heading, &labels));
        }
        let mut headings = vec!["FIGURE", ""];
        headings.extend(&labels);
        if labels.len() == 2 {
            headings.push("RATIO");
        }
        let rows: Vec<Vec<String>> = self.figures.iter().map(Figure::row).collect();
        for line in table(&headings, &rows) {
            output.line(line)?;
        }
        Ok(())
    }

    fn json(&self, mut heading: Value, labels: &[&str]) -> Value {
        let figures: Vec<Value> = self
            .figures
            .iter()
            .map(|figure| {
                json!({
                    "figure": figure.name,
                    "unit": figure.unit.name(),
                    "medians": figure.medians(),
                    "values": figure.values,
                    "first_to_second": figure.ratio(),
                })
            })
            .collect();
        heading["servers"] = json!(labels);
        heading["figures"] = json!(figures);
        heading
    }
}

impl Figure {
    fn medians(&self) -> Vec<Option<f64>> {
        self.values.iter().cloned().map(median).collect()
    }

    fn ratio(&self) -> Option<f64> {
        match self.medians().as_slice() {
            [Some(first), Some(second)] if *second > 0.0 => Some(first / second),
            _ => None,
        }
    }

    fn row(&self) -> Vec<String> {
        let mut row = vec![self.name.clone(), self.unit.name().to_owned()];
        row.extend(self.medians().into_iter().map(number));
        if self.values.len() == 2 {
            row.push(times(self.ratio()));
        }
        row
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_keep_their_order_and_show_medians() {
        let mut figures = Figures::new(2);
        for (server, millis) in [(0, 1), (0, 9), (0, 2), (1, 4)] {
            figures.add(server, "b", Unit::Millis, Duration::from_millis(millis));
        }
        figures.add(0, "a", Unit::Megabytes, 3_000_000_u64);
        let rows: Vec<Vec<String>> = figures.figures.iter().map(Figure::row).collect();
        assert_eq!(rows[0], ["b", "ms", "2.00", "4.00", "0.50x"]);
        assert_eq!(rows[1], ["a", "MB", "3.00", "-", "-"]);
    }
}
