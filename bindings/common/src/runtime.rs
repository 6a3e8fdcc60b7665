//! The tokio runtime of a host process, and what lives on it.
//!
//! Owns the runtime and knows which process it belongs to: threads do not survive a fork, so a
//! child gets a runtime of its own, and objects made by the parent refuse to work there.

use std::{io, mem, process, sync::Arc};

use arc_swap::ArcSwapOption;
use tokio::runtime::{Builder, Handle, Runtime};

struct Owned {
    pid: u32,
    runtime: Runtime,
}

// No mutex: a lock that is held at the moment of a fork stays held in the child.
static CURRENT: ArcSwapOption<Owned> = ArcSwapOption::const_empty();

/// The runtime of this process, made at the first call; it lives until the process ends.
///
/// # Errors
/// When the system gives no threads.
pub fn handle() -> io::Result<Handle> {
    let current = CURRENT.load_full();
    if let Some(owned) = &current
        && owned.pid == process::id()
    {
        return Ok(owned.runtime.handle().clone());
    }
    let made = Arc::new(Owned {
        pid: process::id(),
        runtime: Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("handfast-rt")
            .enable_all()
            .build()?,
    });
    let before = CURRENT.compare_and_swap(&current, Some(Arc::clone(&made)));
    let replaced = match (&*before, &current) {
        (None, None) => true,
        (Some(before), Some(current)) => Arc::ptr_eq(before, current),
        _ => false,
    };
    if replaced {
        // Its threads are the parent's: dropping it here would wait for them for ever.
        mem::forget(current);
        return Ok(made.runtime.handle().clone());
    }
    drop(before);
    handle()
}

/// The object was made in a process that this one was forked from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this handfast object was made before a fork; connect again in the child process")]
pub struct Forked;

/// The process an object was made in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process(u32);

impl Process {
    /// This process.
    #[must_use]
    pub fn this() -> Self {
        Self(process::id())
    }

    /// Refuses to go on in a child of the process that made the object.
    ///
    /// # Errors
    /// [`Forked`].
    pub fn check(self) -> Result<(), Forked> {
        if self.0 == process::id() {
            Ok(())
        } else {
            Err(Forked)
        }
    }
}

/// A value that lives on the runtime of the process that made it.
///
/// In a forked child it can neither be used nor dropped: it belongs to threads that are not there.
/// Elsewhere it is dropped within the runtime, from whatever thread.
#[derive(Debug)]
pub struct Local<T> {
    process: Process,
    /// Empty only while it is dropped.
    value: Option<T>,
}

impl<T> Local<T> {
    /// A value of this process.
    pub fn new(value: T) -> Self {
        Self {
            process: Process::this(),
            value: Some(value),
        }
    }

    /// The value.
    ///
    /// # Errors
    /// [`Forked`] in a child process.
    pub fn get(&self) -> Result<&T, Forked> {
        self.process.check()?;
        self.value.as_ref().ok_or(Forked)
    }
}

impl<T> Drop for Local<T> {
    fn drop(&mut self) {
        if self.process.check().is_err() {
            mem::forget(self.value.take());
            return;
        }
        // Guards and streams start tasks that clean up after them.
        let runtime = handle();
        let _inside = runtime.as_ref().map(Handle::enter);
        drop(self.value.take());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_runtime_and_it_works_from_any_thread() {
        let ask = || handle().unwrap().block_on(async { Handle::current().id() });
        let ids: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
            threads.into_iter().map(|it| it.join().unwrap()).collect()
        });
        assert!(ids.iter().all(|id| *id == ids[0]));
    }

    #[test]
    fn a_local_value_is_dropped_within_the_runtime() {
        struct Spawns(std::sync::mpsc::Sender<()>);
        impl Drop for Spawns {
            fn drop(&mut self) {
                let told = self.0.clone();
                tokio::spawn(async move { told.send(()).unwrap() });
            }
        }
        let (told, heard) = std::sync::mpsc::channel();
        drop(Local::new(Spawns(told)));
        heard.recv().unwrap();
    }

    #[test]
    fn another_process_is_refused() {
        let local = Local {
            process: Process(process::id() + 1),
            value: Some(()),
        };
        assert_eq!(local.get(), Err(Forked));
    }
}
