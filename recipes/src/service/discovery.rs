//! Knowing who is listed, and choosing one of them.
//!
//! Owns the handle of a discovery and its options. Everything is answered from memory; the copy
//! behind it is kept by `follow`.

use std::{fmt, future::IntoFuture, sync::Arc, time::Duration};

use futures::future::{BoxFuture, FutureExt};
use handfast_core::Mirror;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    Service,
    changes::ServiceChanges,
    entry::{self, Instance, Status},
    follow,
    pick::Pick,
    roster::Roster,
    shared::Shared,
};
use crate::Error;

/// After an outage servers end leases for some seconds, however short their TTL.
const SHORTEST_WINDOW: Duration = Duration::from_secs(5);

/// A discovery that is to be opened; made by [`Handfast::discover`](crate::Handfast::discover).
#[derive(Debug, Clone)]
#[must_use = "nothing is read until it is opened"]
pub struct Discover {
    service: Service,
    window: Duration,
}

impl Discover {
    pub(super) fn new(service: Service) -> Self {
        let window = service.handfast.ttl().max(SHORTEST_WINDOW);
        Self { service, window }
    }

    /// Within which time so many deaths are not believed (default: this handle's TTL, and no less
    /// than 5 s; should be that of the registered programs). When more than half of the instances,
    /// and at least three, die within it, they are kept as suspects for three times as long, or
    /// until a call to them fails. Zero believes everything.
    pub fn guard(mut self, window: Duration) -> Self {
        self.window = window;
        self
    }

    /// Reads who is listed, and follows it from there on without a gap.
    ///
    /// # Errors
    /// [`Client`](Error::Client) when no server answered in time;
    /// [`InvalidArgument`](Error::InvalidArgument).
    pub async fn open(self) -> Result<Discovery, Error> {
        let prefix = entry::prefix(&self.service.name)?;
        let client = self.service.handfast.client();
        let mirror = Mirror::open(client, &prefix).await?;
        let (view, changes) = mirror.subscribe();
        let listed = view.iter().filter_map(|pair| Instance::read(&prefix, pair));
        let roster = Roster::new(self.window, listed);
        let shared = Arc::new(Shared::new(
            self.service.name,
            &self.service.handfast,
            mirror,
            roster,
            view.revision(),
        ));
        let stop = CancellationToken::new();
        tokio::spawn(follow::run(Arc::clone(&shared), changes, stop.clone()));
        Ok(Discovery {
            shared,
            stop: Arc::new(stop.drop_guard()),
        })
    }
}

impl IntoFuture for Discover {
    type Output = Result<Discovery, Error>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        self.open().boxed()
    }
}

/// Who is listed, as of a revision.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ServiceList {
    /// All instances in the order of their ids, whatever their status.
    pub instances: Vec<Arc<Instance>>,
    /// The revision of the store this is true at, apart from suspects.
    pub revision: i64,
    /// For how long the servers have not been heard of; the list stands still meanwhile. Zero
    /// when all is well.
    pub stale_for: Duration,
}

/// A service as seen by those who call it: its instances, each change, and picks.
///
/// Cheap to clone; the last clone stops following. While no server answers the list stays as it
/// is: it is never emptied by an outage.
#[derive(Clone)]
pub struct Discovery {
    shared: Arc<Shared>,
    stop: Arc<DropGuard>,
}

impl fmt::Debug for Discovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Discovery")
            .field("service", &self.shared.service)
            .finish_non_exhaustive()
    }
}

impl Discovery {
    /// The service's name.
    #[must_use]
    pub fn service(&self) -> &str {
        &self.shared.service
    }

    /// Who is listed now. No input or output.
    #[must_use]
    pub fn list(&self) -> ServiceList {
        let state = self.shared.state.lock();
        ServiceList {
            instances: state.roster.listed().values().cloned().collect(),
            revision: state.revision,
            stale_for: self.shared.mirror.stale_for(),
        }
    }

    /// For how long the servers have not been heard of; zero when all is well. One that falls
    /// silent is noticed after some 4 s, and after some 15 s when no other endpoint is known.
    #[must_use]
    pub fn stale_for(&self) -> Duration {
        self.shared.mirror.stale_for()
    }

    /// Who is listed now, and every change from there on.
    #[must_use]
    pub fn subscribe(&self) -> (ServiceList, ServiceChanges) {
        // Changes are sent with the state locked, so none falls between the two.
        let state = self.shared.state.lock();
        let list = ServiceList {
            instances: state.roster.listed().values().cloned().collect(),
            revision: state.revision,
            stale_for: self.shared.mirror.stale_for(),
        };
        let keep = Arc::clone(&self.stop);
        let changes = ServiceChanges::new(Arc::clone(&self.shared), keep, &state);
        (list, changes)
    }

    /// Every change from now on.
    #[must_use]
    pub fn changes(&self) -> ServiceChanges {
        self.subscribe().1
    }

    /// Waits until everything up to `revision` is in the list. Cancel safe. Waits for as long as
    /// no server answers.
    pub async fn at_least(&self, revision: i64) {
        let mut progress = self.shared.reached.subscribe();
        self.shared.mirror.at_least(revision).await;
        // The copy is there; the list follows it.
        self.shared.seen.notify_one();
        // The sender lives as long as this handle.
        let _ = progress.wait_for(|reached| *reached >= revision).await;
    }

    /// Chooses an instance for a call. No input or output.
    ///
    /// Those that are up are chosen from; only when there is none those that warm up, and then
    /// those that were ejected since their calls failed. Draining ones never are.
    ///
    /// # Errors
    /// [`NoInstance`](Error::NoInstance), which says what is listed.
    pub fn pick(&self, pick: Pick) -> Result<Picked, Error> {
        let instance = self.shared.pick(&pick).ok_or_else(|| self.nobody())?;
        Ok(Picked {
            begun: self.shared.now(),
            shared: Arc::clone(&self.shared),
            instance,
        })
    }

    /// Chooses as [`pick`](Self::pick), and waits for an instance if there is none. Cancel safe.
    pub async fn pick_when_ready(&self, pick: Pick) -> Picked {
        let mut changes = self.changes();
        loop {
            if let Ok(picked) = self.pick(pick.clone()) {
                return picked;
            }
            changes.next().await;
        }
    }

    fn nobody(&self) -> Error {
        let state = self.shared.state.lock();
        let listed = state.roster.listed();
        let draining = listed
            .values()
            .filter(|instance| instance.status == Status::Draining);
        Error::NoInstance {
            service: self.shared.service.clone(),
            draining: draining.count(),
            stale_for: self.shared.mirror.stale_for(),
        }
    }
}

/// An instance chosen for one call. Dropping it says that the call is over, and nothing of how it
/// went.
#[must_use = "the instance counts as busy as long as this lives"]
pub struct Picked {
    shared: Arc<Shared>,
    instance: Arc<Instance>,
    begun: Duration,
}

impl fmt::Debug for Picked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Picked").field(&self.instance).finish()
    }
}

impl Picked {
    /// The instance.
    #[must_use]
    pub fn instance(&self) -> &Arc<Instance> {
        &self.instance
    }

    /// Where to call it.
    #[must_use]
    pub fn addr(&self) -> &str {
        &self.instance.addr
    }

    /// Says how the call went and how long it took. Several failures in a row keep the instance
    /// from being picked for a while, but never more than half of all; one failure of a suspect
    /// takes it off the list.
    ///
    /// An answer that says "no" is not a failure: what counts is whether the instance works.
    pub fn report(self, ok: bool, latency: Duration) {
        self.shared.report(&self.instance, ok, latency);
    }

    /// [`report`](Self::report) with the time since the pick.
    pub fn done(self, ok: bool) {
        let taken = self.shared.now().saturating_sub(self.begun);
        self.report(ok, taken);
    }
}

impl Drop for Picked {
    fn drop(&mut self) {
        self.shared.state.lock().loads.end(&self.instance.id);
    }
}
