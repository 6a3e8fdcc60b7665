//! The programs of `bench registry`: those that are registered, and one that looks at the list.
//!
//! Owns what is known of them. It must not know what happens to the server.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use futures::future::try_join_all;
use handfast::{Discovery, Handfast, Registration, RegistrationState};
use tokio::task::{JoinHandle, spawn_local};

use crate::exit::Failure;

const SERVICE: &str = "handfast-bench/registry";
/// Whoever is not listed after this is given up.
const PATIENCE: Duration = Duration::from_secs(180);
/// How often it is looked whether all are listed.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// How often the list is looked at besides after each change.
const GLANCE_EVERY: Duration = Duration::from_millis(1);

/// All that are registered.
pub(super) struct Crowd {
    sessions: Vec<Handfast>,
    registrations: Vec<Registration>,
}

/// Leases that sessions lost.
pub(super) struct Lost {
    pub(super) all: usize,
    /// Those after the first of each session.
    pub(super) again: usize,
}

impl Crowd {
    pub(super) async fn register(
        endpoint: &str,
        count: usize,
        sessions: usize,
        ttl: Duration,
    ) -> Result<Crowd, Failure> {
        let sessions: Vec<Handfast> = (0..sessions.min(count))
            .map(|_| connect(endpoint, ttl))
            .collect::<Result<_, _>>()?;
        let all = (0..count).zip(sessions.iter().cycle());
        let all = all.map(|(number, session)| {
            let service = session.service(SERVICE);
            let instance = service.instance(format!("i-{number:06}"), "127.0.0.1:1");
            instance.register()
        });
        let registrations = try_join_all(all).await.map_err(|error| failed(&error))?;
        Ok(Crowd {
            sessions,
            registrations,
        })
    }

    /// The revision of the last change of all that are listed.
    pub(super) fn newest(&self) -> i64 {
        let listed = self.registrations.iter().filter_map(listed);
        listed.max().unwrap_or(0)
    }

    /// When all are listed by changes after `before`, the last one.
    fn listed_after(&self, before: i64) -> Option<i64> {
        let after = |at: &i64| *at > before;
        let all: Option<Vec<i64>> = self
            .registrations
            .iter()
            .map(|registration| listed(registration).filter(after))
            .collect();
        all?.into_iter().max()
    }

    /// How many leases each session has had.
    pub(super) async fn leases(&self) -> Result<Vec<u64>, Failure> {
        let numbers = self.sessions.iter().map(async |handfast| {
            let session = handfast.session().map_err(|error| failed(&error))?;
            let epoch = session.epoch().await;
            epoch
                .map(|epoch| epoch.number())
                .map_err(|error| failed(&error))
        });
        try_join_all(numbers).await
    }

    pub(super) async fn lost_since(&self, before: &[u64]) -> Result<Lost, Failure> {
        let now = self.leases().await?;
        let lost = now.iter().zip(before).map(|(now, before)| now - before);
        let lost: Vec<usize> = lost.map(|lost| lost as usize).collect();
        Ok(Lost {
            all: lost.iter().sum(),
            again: lost.iter().map(|lost| lost.saturating_sub(1)).sum(),
        })
    }

    pub(super) async fn close(self) -> Result<(), Failure> {
        let closing = self.sessions.iter().map(Handfast::close);
        try_join_all(closing)
            .await
            .map_err(|error| failed(&error))?;
        Ok(())
    }
}

fn listed(registration: &Registration) -> Option<i64> {
    match registration.state() {
        RegistrationState::Listed { revision } => Some(revision),
        _ => None,
    }
}

fn connect(endpoint: &str, ttl: Duration) -> Result<Handfast, Failure> {
    let handfast = Handfast::builder().endpoints(endpoint).ttl(ttl).build();
    handfast.map_err(|error| failed(&error))
}

fn failed(error: &dyn std::fmt::Display) -> Failure {
    Failure::Other(error.to_string())
}

/// A program that calls the service, and looks at the list all the time.
pub(super) struct Lookout {
    handfast: Handfast,
    discovery: Discovery,
    least: Rc<Cell<usize>>,
    looking: JoinHandle<()>,
}

impl Lookout {
    pub(super) async fn open(endpoint: &str, ttl: Duration) -> Result<Lookout, Failure> {
        let handfast = connect(endpoint, ttl)?;
        let discovery = handfast.discover(SERVICE).open().await;
        let discovery = discovery.map_err(|error| failed(&error))?;
        let least = Rc::new(Cell::new(usize::MAX));
        let looking = spawn_local(look(discovery.clone(), Rc::clone(&least)));
        Ok(Lookout {
            handfast,
            discovery,
            least,
            looking,
        })
    }

    /// Waits until all are listed by changes after `before`, none as a suspect, and the servers
    /// are heard of.
    pub(super) async fn wait_for(&self, crowd: &Crowd, before: i64) -> Result<(), Failure> {
        let all = async {
            loop {
                if let Some(newest) = crowd.listed_after(before)
                    && self.sees(crowd.registrations.len(), newest)
                {
                    return;
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        let in_time = tokio::time::timeout(PATIENCE, all).await;
        in_time.map_err(|_| {
            let seen = self.discovery.list().instances.len();
            let problem = format!("{seen} are listed, and not all came back in {PATIENCE:?}");
            Failure::Other(problem)
        })
    }

    fn sees(&self, count: usize, newest: i64) -> bool {
        let list = self.discovery.list();
        let sure = list.instances.iter().filter(|instance| !instance.suspect);
        sure.count() == count && list.revision >= newest && list.stale_for.is_zero()
    }

    /// The smallest list served since [`Lookout::forget`].
    pub(super) fn least(&self) -> usize {
        self.least.get()
    }

    pub(super) fn forget(&self) {
        self.least.set(usize::MAX);
    }

    pub(super) async fn close(self) -> Result<(), Failure> {
        self.looking.abort();
        let closed = self.handfast.close().await;
        closed.map_err(|error| failed(&error))
    }
}

async fn look(discovery: Discovery, least: Rc<Cell<usize>>) {
    let mut changes = discovery.changes();
    loop {
        // Either is a reason to look.
        let _ = tokio::time::timeout(GLANCE_EVERY, changes.next()).await;
        let listed = discovery.list().instances.len();
        least.set(least.get().min(listed));
    }
}
