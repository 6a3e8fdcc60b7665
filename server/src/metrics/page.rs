//! The text form in which Prometheus reads metrics.
//!
//! Owns the format: families with their help and type, labels and their escapes, numbers. It must
//! not know any metric.

use std::fmt::{Display, Write};

/// What a family of metrics is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// A page of metrics, family after family.
#[derive(Debug, Default)]
pub(crate) struct Page(String);

impl Page {
    /// Begins a family; its samples follow.
    pub(crate) fn family(&mut self, name: &'static str, kind: Kind, help: &str) -> Family<'_> {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        self.0.extend([
            "# HELP ",
            name,
            " ",
            help,
            "\n# TYPE ",
            name,
            " ",
            kind,
            "\n",
        ]);
        Family { page: self, name }
    }

    /// A counter without labels.
    pub(crate) fn counter(&mut self, name: &'static str, help: &str, value: impl Display) {
        self.family(name, Kind::Counter, help).sample(&[], value);
    }

    /// A gauge without labels.
    pub(crate) fn gauge(&mut self, name: &'static str, help: &str, value: impl Display) {
        self.family(name, Kind::Gauge, help).sample(&[], value);
    }

    /// The text.
    pub(crate) fn finish(self) -> String {
        self.0
    }
}

/// The samples of one family.
#[derive(Debug)]
pub(crate) struct Family<'p> {
    page: &'p mut Page,
    name: &'static str,
}

impl Family<'_> {
    /// One sample.
    pub(crate) fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) {
        self.line("", labels, value);
    }

    /// A histogram: the upper bounds of its classes with the number of values in each, the sum of
    /// all values and their number.
    pub(crate) fn histogram(&mut self, classes: &[(f64, u64)], sum: f64, count: u64) {
        let mut so_far = 0;
        for (bound, values) in classes {
            so_far += values;
            self.line("_bucket", &[("le", &bound.to_string())], so_far);
        }
        // The parts are read one after the other while values are added.
        let count = count.max(so_far);
        self.line("_bucket", &[("le", "+Inf")], count);
        self.line("_sum", &[], sum);
        self.line("_count", &[], count);
    }

    fn line(&mut self, suffix: &str, labels: &[(&str, &str)], value: impl Display) {
        let text = &mut self.page.0;
        text.extend([self.name, suffix]);
        for (at, (name, value)) in labels.iter().enumerate() {
            text.extend([if at == 0 { "{" } else { "," }, *name, "=\""]);
            for symbol in value.chars() {
                match symbol {
                    '\\' => text.push_str("\\\\"),
                    '"' => text.push_str("\\\""),
                    '\n' => text.push_str("\\n"),
                    other => text.push(other),
                }
            }
            text.push('"');
        }
        if !labels.is_empty() {
            text.push('}');
        }
        // Writing to a string cannot fail.
        let _ = writeln!(text, " {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_samples_and_labels_are_written_as_prometheus_reads_them() {
        let mut page = Page::default();
        page.gauge("up", "Whether it runs.", 1);
        let mut family = page.family("asked_total", Kind::Counter, "Questions.");
        family.sample(&[("by", "a\"b\\c\nd"), ("code", "OK")], 7u64);
        family.sample(&[("by", ""), ("code", "OK")], 0.5);
        let expected = "# HELP up Whether it runs.\n\
                        # TYPE up gauge\n\
                        up 1\n\
                        # HELP asked_total Questions.\n\
                        # TYPE asked_total counter\n\
                        asked_total{by=\"a\\\"b\\\\c\\nd\",code=\"OK\"} 7\n\
                        asked_total{by=\"\",code=\"OK\"} 0.5\n";
        assert_eq!(page.finish(), expected);
    }

    #[test]
    fn a_histogram_adds_up_and_never_counts_fewer_than_its_classes() {
        let mut page = Page::default();
        let mut family = page.family("took_seconds", Kind::Histogram, "Time.");
        family.histogram(&[(0.001, 2), (0.002, 3)], 1.25, 4);
        let expected = "# HELP took_seconds Time.\n\
                        # TYPE took_seconds histogram\n\
                        took_seconds_bucket{le=\"0.001\"} 2\n\
                        took_seconds_bucket{le=\"0.002\"} 5\n\
                        took_seconds_bucket{le=\"+Inf\"} 5\n\
                        took_seconds_sum 1.25\n\
                        took_seconds_count 5\n";
        assert_eq!(page.finish(), expected);
    }
}
