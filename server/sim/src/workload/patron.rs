//! One client: its connection to the cluster, its clock, and where it writes down what it sees.
//!
//! Owns how clients are made for a simulated network. Knows nothing of what they do.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use handfast::Handfast;
use handfast_checker::{Nanos, Recorder};
use handfast_core::{Client, ClientBuilder};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::clock::MachineClock;
use crate::cluster::Cluster;
use crate::dice::Dice;
use crate::net::{CLIENTS, Net, Place};
use crate::plan::Plan;

/// How much a session expects clocks to drift; more than any fault lets them.
const EXPECTED_DRIFT: f64 = 0.08;
/// How long one call may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// A client of the workload.
pub(crate) struct Patron {
    pub(crate) number: u32,
    pub(crate) client: Client,
    pub(crate) handfast: Handfast,
    pub(crate) recorder: Recorder,
    pub(crate) clock: MachineClock,
    /// Cancelled when no more shall be written.
    pub(crate) stop: CancellationToken,
    /// The revision up to which watches shall read once writing is over; 0 before.
    pub(crate) read_to: watch::Sender<i64>,
    plan: Plan,
    dice: Mutex<Dice>,
    origin: Instant,
    busy: Mutex<BTreeSet<String>>,
}

impl Patron {
    pub(crate) fn new(
        cluster: &Arc<Cluster>,
        number: usize,
        plan: &Plan,
        dice: &Dice,
        recorder: &Recorder,
    ) -> Result<Patron, String> {
        let mut dice = dice.branch(&format!("client {number}"));
        let place = CLIENTS + number;
        let clock = MachineClock::new(Duration::from_secs(1_000));
        let endpoints = cluster.endpoints();
        let client = plain_client(&cluster.net, place, &endpoints, dice.next())?;
        let (ttl, seed) = (dice.millis(2_000..8_000), dice.next());
        let session_clock = clock.clone();
        let net = cluster.net.clone();
        let handfast = Handfast::builder()
            .endpoints(endpoints)
            .ttl(ttl)
            .app_name(format!("client {number}"))
            .session(|options| options.clock(Arc::new(session_clock)).drift(EXPECTED_DRIFT))
            .client(|builder| wired(builder, &net, place, seed))
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Patron {
            number: number as u32,
            client,
            handfast,
            recorder: recorder.clone(),
            clock,
            stop: CancellationToken::new(),
            read_to: watch::Sender::new(0),
            plan: plan.clone(),
            dice: Mutex::new(dice),
            origin: Instant::now(),
            busy: Mutex::default(),
        })
    }

    /// Virtual time since the clients began.
    pub(crate) fn now(&self) -> Nanos {
        u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    pub(crate) fn draw<T>(&self, draw: impl FnOnce(&mut Dice) -> T) -> T {
        draw(&mut self.dice.lock())
    }

    /// Pauses as between two operations; false when the run is over.
    pub(crate) async fn think(&self) -> bool {
        let pause = self.draw(|dice| dice.millis(self.plan.think_ms.clone()));
        self.pause(pause).await
    }

    /// Pauses; false, at once, when the run is over.
    pub(crate) async fn pause(&self, pause: Duration) -> bool {
        self.stop.run_until_cancelled(sleep(pause)).await.is_some()
    }

    /// Says what the client is at, until the answer is dropped.
    pub(crate) fn at(&self, what: String) -> Busy<'_> {
        self.busy.lock().insert(what.clone());
        Busy { patron: self, what }
    }

    /// What the client is still at.
    pub(crate) fn lagging(&self) -> Vec<String> {
        let busy = self.busy.lock();
        busy.iter()
            .map(|what| format!("client {}: {what}", self.number))
            .collect()
    }
}

/// Until it is dropped, the client is at something.
pub(crate) struct Busy<'a> {
    patron: &'a Patron,
    what: String,
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.patron.busy.lock().remove(&self.what);
    }
}

/// A client at `place` without a session.
pub(crate) fn plain_client(
    net: &Net,
    place: Place,
    endpoints: &[String],
    seed: u64,
) -> Result<Client, String> {
    let builder = Client::builder().endpoints(endpoints.to_vec());
    wired(builder, net, place, seed)
        .build()
        .map_err(|error| error.to_string())
}

/// A client that reaches the members from `place`.
pub(crate) fn wired(builder: ClientBuilder, net: &Net, place: Place, seed: u64) -> ClientBuilder {
    let net = net.clone();
    builder
        .timeout(CALL_TIMEOUT)
        .seed(seed)
        .connector(move |uri: http::Uri| {
            let net = net.clone();
            async move {
                let address = uri.authority().map(ToString::to_string).unwrap_or_default();
                net.connect(place, &address).await
            }
        })
}
