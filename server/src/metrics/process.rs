//! What the operating system says about this process.
//!
//! Owns the reading of `/proc`; where there is none, nothing is reported.

use std::fs;

use super::page::Page;

/// Writes the figures that Prometheus clients of every language give.
pub(crate) fn report(page: &mut Page) {
    if let Some(stat) = Stat::read() {
        stat.report(page);
    }
    let descriptors = fs::read_dir("/proc/self/fd").map(|entries| entries.count());
    if let Ok(open) = descriptors {
        let help = "Open file descriptors of the process.";
        page.gauge("process_open_fds", help, open);
        page.gauge("os_fd_used", help, open);
    }
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    if let Some(limit) = descriptor_limit(&limits) {
        let help = "File descriptors that the process may have open.";
        page.gauge("process_max_fds", help, limit);
        page.gauge("os_fd_limit", help, limit);
    }
}

/// What `/proc/self/stat` holds, in seconds and bytes.
#[derive(Debug, PartialEq)]
struct Stat {
    cpu: f64,
    /// Seconds from the start of the machine to that of the process.
    started: f64,
    virtual_bytes: u64,
    resident_bytes: u64,
}

impl Stat {
    fn read() -> Option<Stat> {
        let text = fs::read_to_string("/proc/self/stat").ok()?;
        let ticks = rustix::param::clock_ticks_per_second();
        Stat::parse(&text, ticks, rustix::param::page_size() as u64)
    }

    fn parse(text: &str, ticks_per_second: u64, page_bytes: u64) -> Option<Stat> {
        // The name of the program stands in parentheses and may hold anything.
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        // The manual numbers the field after the name as the third.
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        let seconds = |ticks: u64| ticks as f64 / ticks_per_second as f64;
        Some(Stat {
            cpu: seconds(field(14)? + field(15)?),
            started: seconds(field(22)?),
            virtual_bytes: field(23)?,
            resident_bytes: field(24)? * page_bytes,
        })
    }

    fn report(&self, page: &mut Page) {
        let help = "Processor time used, in seconds.";
        page.counter("process_cpu_seconds_total", help, self.cpu);
        let help = "Bytes of memory in use.";
        page.gauge("process_resident_memory_bytes", help, self.resident_bytes);
        let help = "Bytes of address space in use.";
        page.gauge("process_virtual_memory_bytes", help, self.virtual_bytes);
        let machine = fs::read_to_string("/proc/stat").unwrap_or_default();
        if let Some(booted) = boot_time(&machine) {
            let help = "Start of the process in seconds since 1970.";
            page.gauge(
                "process_start_time_seconds",
                help,
                booted as f64 + self.started,
            );
        }
    }
}

fn boot_time(stat: &str) -> Option<u64> {
    let line = stat.lines().find_map(|line| line.strip_prefix("btime "))?;
    line.trim().parse().ok()
}

fn descriptor_limit(limits: &str) -> Option<u64> {
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_are_found_whatever_the_program_is_called() {
        let text = "42 (a ) b) S 1 42 42 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 3 0 1000 4096 7 \
                    18446744073709551615 1 1";
        let expected = Stat {
            cpu: 3.0,
            started: 10.0,
            virtual_bytes: 4096,
            resident_bytes: 7 * 4096,
        };
        assert_eq!(Stat::parse(text, 100, 4096), Some(expected));
        assert_eq!(Stat::parse("42 (short) S 1", 100, 4096), None);
        assert_eq!(
            boot_time("cpu 1 2\nbtime 1700000000\nx"),
            Some(1_700_000_000)
        );
        let limits = "Max cpu time              unlimited            unlimited   seconds\n\
                      Max open files            20000                20000       files\n";
        assert_eq!(descriptor_limit(limits), Some(20_000));
    }

    #[test]
    fn this_process_has_figures() {
        let mut page = Page::default();
        report(&mut page);
        let text = page.finish();
        for name in [
            "process_resident_memory_bytes",
            "process_open_fds",
            "os_fd_limit",
        ] {
            let value = text
                .lines()
                .find_map(|line| line.strip_prefix(&format!("{name} ")))
                .unwrap();
            assert!(value.parse::<f64>().unwrap() > 0.0, "{name} {value}");
        }
    }
}
