//! The simulated network: who can reach whom, how late, and what is lost on the way.
//!
//! Owns the links and where machines are attached to them. Messages travel as bytes, so nothing
//! reaches another machine that a wire would not carry. Knows nothing of what the bytes mean.

mod lane;
mod peers;
mod stream;

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use handfast_proto::peer::{Request, Response};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::dice::Dice;
use crate::trace::Trace;

pub(crate) use peers::PeerNet;
pub(crate) use stream::SimStream;

/// Where something is attached to the network: members first, clients from [`CLIENTS`] on.
pub(crate) type Place = usize;

/// The first place of a client.
pub(crate) const CLIENTS: Place = 100;

/// What a machine offers to the network while a member runs on it.
pub(crate) trait Host: Send + Sync {
    /// Answers a peer.
    fn call(&self, request: Request) -> BoxFuture<'static, Response>;
    /// Answers a peer's pipelined requests.
    fn replicate(&self, requests: BoxStream<'static, Request>) -> BoxStream<'static, Response>;
    /// Serves a client.
    fn accept(&self, stream: SimStream);
}

/// What all links have in common at a time.
#[derive(Debug, Clone)]
pub(crate) struct Weather {
    /// Milliseconds that a message takes.
    pub(crate) delay_ms: Range<u64>,
    /// Of a thousand messages, how many take a retransmission longer.
    pub(crate) late_per_mille: u32,
    /// Of a thousand calls, how many never arrive, and of a thousand frames, how many break their
    /// connection.
    pub(crate) lost_per_mille: u32,
    /// Of a thousand calls that may be repeated, how many arrive twice.
    pub(crate) doubled_per_mille: u32,
}

impl Weather {
    /// A local network without faults.
    pub(crate) const FAIR: Weather = Weather {
        delay_ms: 0..3,
        late_per_mille: 0,
        lost_per_mille: 0,
        doubled_per_mille: 0,
    };
}

/// How long a lost packet takes to be sent again.
const RETRANSMISSION_MS: Range<u64> = 50..400;
/// How long a connection that carries nothing lives.
const STALL_MS: Range<u64> = 1_000..8_000;

/// The network; clones are the same.
#[derive(Clone)]
pub(crate) struct Net {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    changes: watch::Sender<u64>,
    trace: Trace,
}

struct State {
    dice: Dice,
    weather: Weather,
    /// From, to.
    blocked: BTreeSet<(Place, Place)>,
    frozen: BTreeSet<Place>,
    /// Places of processes that are gone.
    buried: BTreeSet<Place>,
    hosts: BTreeMap<Place, Attached>,
    /// `host:port` to place.
    doors: BTreeMap<String, Place>,
    figures: Figures,
}

/// What the network did: a run in which a fault never happened proves nothing about it.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Figures {
    pub(crate) messages: u64,
    pub(crate) lost: u64,
    pub(crate) doubled: u64,
    pub(crate) broken: u64,
    pub(crate) snapshot_chunks: u64,
}

/// A machine that runs.
#[derive(Clone)]
struct Attached {
    host: Arc<dyn Host>,
    life: CancellationToken,
}

/// How one message fares.
struct Fortune {
    delay: Duration,
    lost: bool,
    doubled: bool,
}

impl std::fmt::Debug for Net {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Net").finish_non_exhaustive()
    }
}

impl Net {
    pub(crate) fn new(dice: Dice, trace: Trace) -> Net {
        let state = State {
            dice,
            weather: Weather::FAIR,
            blocked: BTreeSet::new(),
            frozen: BTreeSet::new(),
            buried: BTreeSet::new(),
            hosts: BTreeMap::new(),
            doors: BTreeMap::new(),
            figures: Figures::default(),
        };
        Net {
            shared: Arc::new(Shared {
                state: Mutex::new(state),
                changes: watch::Sender::new(0),
                trace,
            }),
        }
    }

    /// Says whether anything still holds the network.
    pub(crate) fn weak(&self) -> Weak<dyn Any + Send + Sync> {
        let shared: Weak<Shared> = Arc::downgrade(&self.shared);
        shared
    }

    /// Makes `address` (`host:port`) lead to `place` from now on.
    pub(crate) fn name(&self, address: &str, place: Place) {
        let mut state = self.shared.state.lock();
        state.doors.insert(address.to_owned(), place);
    }

    /// Attaches a machine; it answers until it is detached.
    pub(crate) fn attach(&self, place: Place, host: Arc<dyn Host>) {
        let life = CancellationToken::new();
        let attached = Attached { host, life };
        let before = self.shared.state.lock().hosts.insert(place, attached);
        if let Some(before) = before {
            before.life.cancel();
        }
    }

    /// Ends everything that the machine takes part in.
    pub(crate) fn detach(&self, place: Place) {
        let gone = self.shared.state.lock().hosts.remove(&place);
        if let Some(gone) = gone {
            gone.life.cancel();
        }
    }

    pub(crate) fn set_weather(&self, weather: Weather) {
        self.shared.state.lock().weather = weather;
    }

    /// Lets nothing pass from one place to the other.
    pub(crate) fn block(&self, from: Place, to: Place) {
        self.shared.state.lock().blocked.insert((from, to));
    }

    /// Cuts two groups off from each other, both ways.
    pub(crate) fn part(&self, one: &[Place], other: &[Place]) {
        for &a in one {
            for &b in other.iter().filter(|&&b| b != a) {
                self.block(a, b);
                self.block(b, a);
            }
        }
    }

    /// Removes every block.
    pub(crate) fn heal(&self) {
        self.shared.state.lock().blocked.clear();
        self.changed();
    }

    /// Holds back everything from and to a machine, as if its processes stood still.
    pub(crate) fn freeze(&self, place: Place) {
        self.shared.state.lock().frozen.insert(place);
    }

    pub(crate) fn thaw(&self, place: Place) {
        self.shared.state.lock().frozen.remove(&place);
        self.changed();
    }

    /// Lets nothing pass from and to a place any more, whatever is healed.
    pub(crate) fn bury(&self, place: Place) {
        self.shared.state.lock().buried.insert(place);
    }

    pub(crate) fn figures(&self) -> Figures {
        self.shared.state.lock().figures
    }

    /// Connects a client to an address; fails as a socket would.
    pub(crate) async fn connect(&self, from: Place, address: &str) -> io::Result<SimStream> {
        let refused = || io::Error::new(io::ErrorKind::ConnectionRefused, "connection refused");
        let to = self.place(address).ok_or_else(refused)?;
        self.arrive(from, to).await;
        let attached = self.host(to);
        self.arrive(to, from).await;
        let attached = attached.ok_or_else(refused)?;
        self.note(from, to, "connect");
        let (near, far) = stream::pair(self, from, to, &attached.life);
        attached.host.accept(far);
        Ok(near)
    }

    /// The place of the first address that is known; addresses may be whole URLs.
    fn place(&self, address: &str) -> Option<Place> {
        let bare = address.rsplit("://").next().unwrap_or(address);
        let bare = bare.trim_end_matches('/');
        self.shared.state.lock().doors.get(bare).copied()
    }

    fn host(&self, place: Place) -> Option<Attached> {
        self.shared.state.lock().hosts.get(&place).cloned()
    }

    fn changed(&self) {
        self.shared.changes.send_modify(|count| *count += 1);
    }

    /// What happens to the next message between two places.
    fn fortune(&self, from: Place, to: Place) -> Fortune {
        let mut state = self.shared.state.lock();
        let State {
            dice,
            weather,
            blocked,
            buried,
            figures,
            ..
        } = &mut *state;
        let mut delay = dice.millis(weather.delay_ms.clone());
        if dice.per_mille(weather.late_per_mille) {
            delay += dice.millis(RETRANSMISSION_MS);
        }
        let gone = buried.contains(&from) || buried.contains(&to);
        let cut = gone || blocked.contains(&(from, to));
        // What meets a cut may wait in a queue, or be gone when its connection is given up.
        let lost = dice.per_mille(if cut { 500 } else { weather.lost_per_mille });
        let doubled = dice.per_mille(weather.doubled_per_mille);
        figures.messages += 1;
        figures.lost += u64::from(lost);
        Fortune {
            delay,
            lost,
            doubled,
        }
    }

    fn draw<T>(&self, draw: impl FnOnce(&mut Dice, &mut Figures) -> T) -> T {
        let mut state = self.shared.state.lock();
        let state = &mut *state;
        draw(&mut state.dice, &mut state.figures)
    }

    /// Waits as long as nothing can pass. Cancel safe.
    async fn passable(&self, from: Place, to: Place) {
        let mut changes = self.shared.changes.subscribe();
        loop {
            {
                let state = self.shared.state.lock();
                let held = |place| state.frozen.contains(place) || state.buried.contains(place);
                if !held(&from) && !held(&to) && !state.blocked.contains(&(from, to)) {
                    return;
                }
            }
            // The sender lives as long as `self`.
            let _ = changes.changed().await;
        }
    }

    /// Takes one message over; false when it was lost.
    async fn travel(&self, from: Place, to: Place) -> bool {
        let fortune = self.fortune(from, to);
        sleep(fortune.delay).await;
        if fortune.lost {
            return false;
        }
        self.passable(from, to).await;
        true
    }

    /// Takes over what is sent again until it arrives.
    async fn arrive(&self, from: Place, to: Place) {
        let fortune = self.fortune(from, to);
        sleep(fortune.delay).await;
        self.passable(from, to).await;
    }

    /// Leaves the bytes out: sessions tell their process id and the date.
    fn note(&self, from: Place, to: Place, what: &str) {
        self.shared.trace.note(format_args!("{from}>{to} {what}"));
    }
}
