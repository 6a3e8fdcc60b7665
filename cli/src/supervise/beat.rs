//! A hold that follows the work: it goes on only while the work touches a file.
//!
//! Owns looking at the file. It must not know what is held, nor what happens when it ends.

use std::cell::Cell;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use handfast_core::session::LostReason;
use tokio::time::Instant;

use super::Hold;

/// What is held, for as long as a file changes.
pub(crate) struct Beating<'a, H> {
    hold: &'a H,
    file: Option<BeatFile>,
}

struct BeatFile {
    path: PathBuf,
    interval: Duration,
    /// When the file was changed, by the file system's clock; only compared with itself.
    changed: Cell<Option<SystemTime>>,
    /// When that was noticed.
    noticed: Cell<Instant>,
}

impl<'a, H> Beating<'a, H> {
    /// Begins to count now. Without a file there is no limit.
    pub(crate) fn new(hold: &'a H, file: Option<&Path>, interval: Duration) -> Self {
        let file = file.map(|path| BeatFile {
            path: path.to_owned(),
            interval,
            changed: Cell::new(changed(path)),
            noticed: Cell::new(Instant::now()),
        });
        Beating { hold, file }
    }
}

impl BeatFile {
    fn left(&self) -> Duration {
        let changed = changed(&self.path);
        // A file that is not there (yet) says nothing.
        if changed.is_some() && changed != self.changed.get() {
            self.changed.set(changed);
            self.noticed.set(Instant::now());
        }
        let end = self.noticed.get() + self.interval;
        end.saturating_duration_since(Instant::now())
    }
}

fn changed(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|it| it.modified()).ok()
}

impl<H: Hold> Hold for Beating<'_, H> {
    fn remaining(&self) -> Duration {
        self.hold.remaining()
    }

    fn lost(&self) -> impl Future<Output = LostReason> {
        self.hold.lost()
    }

    fn limit(&self) -> Option<(Duration, LostReason)> {
        let file = self.file.as_ref()?;
        Some((file.left(), LostReason::NoBeat))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Always;

    impl Hold for Always {
        fn remaining(&self) -> Duration {
            Duration::MAX
        }

        async fn lost(&self) -> LostReason {
            std::future::pending().await
        }
    }

    #[test]
    fn only_a_change_of_the_file_counts() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("beat");
        let interval = Duration::from_secs(60);
        let beating = Beating::new(&Always, Some(&path), interval);
        let file = beating.file.as_ref().unwrap();
        let begun = file.noticed.get();
        file.left();
        assert_eq!(file.noticed.get(), begun);
        std::fs::write(&path, "").unwrap();
        file.left();
        let first = file.noticed.get();
        assert!(first > begun);
        file.left();
        assert_eq!(file.noticed.get(), first);
        assert!(Beating::new(&Always, None, interval).limit().is_none());
    }
}
