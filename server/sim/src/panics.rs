//! Panics of a run's tasks, which the runtime would otherwise keep to itself.
//!
//! Owns the process's panic hook. Each run has its thread, so a panic belongs to the run of the
//! thread it happened on.

use std::backtrace::Backtrace;
use std::cell::RefCell;
use std::sync::Once;

thread_local! {
    static PANICS: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

static HOOK: Once = Once::new();

/// Collects the panics of this thread from now on.
pub(crate) fn collect() {
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let trace = Backtrace::force_capture().to_string();
            let ours = trace.lines().filter(|line| line.contains("handfast"));
            let ours: Vec<&str> = ours.map(str::trim).take(12).collect();
            let text = format!("{panic}\n{}", ours.join("\n"));
            let kept = PANICS.with_borrow_mut(|panics| {
                panics.as_mut().map(|panics| panics.push(text)).is_some()
            });
            // A test that fails by a panic has nobody else to print it.
            if !kept || cfg!(test) {
                before(panic);
            }
        }));
    });
    PANICS.set(Some(Vec::new()));
}

/// What was collected; ends the collection.
pub(crate) fn take() -> Vec<String> {
    PANICS.take().unwrap_or_default()
}
