//! Makes the next segment ahead of its use and retires old ones, off the log's thread: an append
//! never waits for zeros to be written. Must not know records.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use super::segment::{Segment, Segments};

/// Where new segments come from and old ones go.
#[derive(Debug)]
pub(super) struct Preparer {
    /// Found ready when the log was opened.
    prepared: VecDeque<Segment>,
    how: How,
}

#[derive(Debug)]
enum How {
    /// On the spot, in an order that is the same in every run.
    Inline(Segments),
    Ahead(Ahead),
}

#[derive(Debug)]
struct Ahead {
    jobs: Option<Sender<Job>>,
    made: Receiver<io::Result<Segment>>,
    /// Whether a segment has been asked for and not been taken yet.
    asked: bool,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
enum Job {
    /// Make the segment that follows the one of this number and size.
    MakeAfter(u64, u64),
    Retire(Arc<Segment>),
}

impl Preparer {
    /// Starts preparing the segment that follows `active` and the `prepared` ones.
    pub(super) fn start(
        segments: Segments,
        prepared: VecDeque<Segment>,
        active: &Segment,
        ahead: bool,
    ) -> io::Result<Self> {
        let how = if ahead {
            How::Ahead(Ahead::start(segments)?)
        } else {
            How::Inline(segments)
        };
        let mut preparer = Self { prepared, how };
        preparer.ask(active.number, active.bytes);
        Ok(preparer)
    }

    /// The segment that follows `active`, ready to be written.
    pub(super) fn next(&mut self, active: &Segment) -> io::Result<Segment> {
        let next = match self.prepared.pop_front() {
            Some(ready) => ready,
            None => self.make(active.number, active.bytes)?,
        };
        self.ask(next.number, next.bytes);
        Ok(next)
    }

    /// Gives back a segment nobody will look up any more.
    pub(super) fn retire(&mut self, segment: Arc<Segment>) {
        match &mut self.how {
            How::Inline(segments) => retire(segments, segment),
            How::Ahead(ahead) => ahead.send(Job::Retire(segment)),
        }
    }

    fn ask(&mut self, number: u64, bytes: u64) {
        if let (How::Ahead(ahead), true) = (&mut self.how, self.prepared.is_empty()) {
            ahead.send(Job::MakeAfter(number, bytes));
            ahead.asked = true;
        }
    }

    fn make(&mut self, number: u64, bytes: u64) -> io::Result<Segment> {
        match &mut self.how {
            How::Inline(segments) => segments.make(number + 1, segments.size_after(bytes)),
            How::Ahead(ahead) => {
                let earlier = ahead.take();
                if let Some(Ok(segment)) = earlier {
                    return Ok(segment);
                }
                // An attempt made long ago may have met a full disk that has room again.
                ahead.send(Job::MakeAfter(number, bytes));
                ahead.asked = true;
                ahead
                    .take()
                    .unwrap_or_else(|| Err(io::Error::other("no segment was made")))
            }
        }
    }
}

impl Ahead {
    fn start(mut segments: Segments) -> io::Result<Self> {
        let (jobs, queue) = channel();
        let (ready, made) = channel();
        let work = move || {
            while let Ok(job) = queue.recv() {
                match job {
                    Job::MakeAfter(number, bytes) => {
                        let bytes = segments.size_after(bytes);
                        if ready.send(segments.make(number + 1, bytes)).is_err() {
                            return;
                        }
                    }
                    Job::Retire(segment) => retire(&mut segments, segment),
                }
            }
        };
        let thread = std::thread::Builder::new()
            .name("wal-prepare".to_owned())
            .spawn(work)?;
        Ok(Self {
            jobs: Some(jobs),
            made,
            asked: false,
            thread: Some(thread),
        })
    }

    fn send(&self, job: Job) {
        if let Some(jobs) = &self.jobs {
            // Without the thread nothing is made, and `take` says so.
            let _ = jobs.send(job);
        }
    }

    fn take(&mut self) -> Option<io::Result<Segment>> {
        if !std::mem::take(&mut self.asked) {
            return None;
        }
        self.made.recv().ok()
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn retire(segments: &mut Segments, segment: Arc<Segment>) {
    let (segment, reusable) = match Arc::try_unwrap(segment) {
        Ok(segment) => (Arc::new(segment), true),
        // A read is going on in it; the file stays readable for that one after its removal.
        Err(shared) => (shared, false),
    };
    if let Err(error) = segments.retire(&segment, reusable) {
        tracing::warn!(
            segment = %segment.path.display(),
            %error,
            "cannot retire a log segment that is no longer needed; it stays until the next start"
        );
    }
}
