//! What programs run on: a network with servers on it, simulated ones or a bridge to a real one.
//!
//! Owns no server; whoever made them knows what else they are.

use std::sync::Arc;
use std::time::Duration;

use crate::cluster::Cluster;
use crate::net::{Net, Place};
use crate::trace::Trace;

/// Where the programs of a run find what they use.
pub(crate) struct Stage {
    pub(crate) net: Net,
    pub(crate) trace: Trace,
    /// Addresses of all servers.
    pub(crate) endpoints: Vec<String>,
    /// Where on the network they are.
    pub(crate) servers: Vec<Place>,
    /// Seconds a session outlives its program.
    pub(crate) ttl: std::ops::Range<u64>,
    /// How much sessions expect clock rates to differ; more than any fault lets them.
    pub(crate) expected_drift: f64,
    /// Takes what must not happen.
    pub(crate) problem: Arc<dyn Fn(String) + Send + Sync>,
}

impl Stage {
    /// A simulated cluster.
    pub(crate) fn simulated(cluster: &Arc<Cluster>) -> Stage {
        let noting = Arc::clone(cluster);
        let places = cluster.machines.iter().map(|machine| machine.place);
        Stage {
            net: cluster.net.clone(),
            trace: cluster.trace.clone(),
            endpoints: cluster.endpoints(),
            servers: places.collect(),
            ttl: 2..5,
            expected_drift: 0.05,
            problem: Arc::new(move |problem| noting.problem(problem)),
        }
    }
}

/// How often the servers are asked for their revision: how exactly it is known when one came to be.
pub(crate) const TICK: Duration = Duration::from_millis(10);
