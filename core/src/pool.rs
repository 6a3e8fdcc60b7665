//! The endpoints of a cluster, and which of them to use next.
//!
//! Owns the choice and the memory of what failed; [`member`] connects to one endpoint, [`pulse`]
//! tells when it falls silent, and [`gather`] puts what is sent to it together. Knows nothing of
//! calls; who uses a link reports how it went.

mod gather;
mod member;
mod pulse;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use parking_lot::RwLock;
use tokio::time::Instant;

use member::Member;
pub(crate) use member::{Link, TransportOptions};
pub(crate) use pulse::{Wait, Waiting};

use crate::{Error, chance::Chance, endpoint, environment::Environment, error::classify::Failure};

/// The endpoints of one cluster.
#[derive(Debug)]
pub(crate) struct Pool {
    roster: RwLock<Roster>,
    preferred: AtomicUsize,
    options: TransportOptions,
    environment: Environment,
}

#[derive(Debug)]
struct Roster {
    /// Only grows, so that an endpoint's number stays its own.
    members: Vec<Arc<Member>>,
    /// How many of them, the first, the client was given; the others were learned.
    given: usize,
    /// Those in use, in an order of this client's own: when a member fails, its clients spread
    /// over all others.
    order: Vec<usize>,
}

impl Pool {
    pub(crate) fn new(
        urls: Vec<Arc<str>>,
        options: TransportOptions,
        environment: Environment,
    ) -> Result<Self, Error> {
        let members = urls
            .into_iter()
            .map(|url| Member::new(url, &options, &environment).map(Arc::new))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self::of(members, options, environment))
    }

    fn of(members: Vec<Arc<Member>>, options: TransportOptions, environment: Environment) -> Self {
        let mut order = Vec::with_capacity(members.len());
        for index in 0..members.len() {
            order.insert(environment.chance.below(index + 1), index);
        }
        Self {
            preferred: AtomicUsize::new(order.first().copied().unwrap_or(0)),
            roster: RwLock::new(Roster {
                given: members.len(),
                members,
                order,
            }),
            options,
            environment,
        }
    }

    /// How many endpoints are in use.
    pub(crate) fn len(&self) -> usize {
        self.roster.read().order.len()
    }

    pub(crate) fn chance(&self) -> &Chance {
        &self.environment.chance
    }

    /// The endpoints in use, those the client was given first.
    pub(crate) fn urls(&self) -> Vec<Arc<str>> {
        let roster = self.roster.read();
        let mut used = roster.order.clone();
        used.sort_unstable();
        used.iter()
            .map(|index| Arc::clone(&roster.members[*index].url))
            .collect()
    }

    pub(crate) fn url(&self, index: usize) -> Arc<str> {
        Arc::clone(&self.member(index).url)
    }

    fn member(&self, index: usize) -> Arc<Member> {
        Arc::clone(&self.roster.read().members[index])
    }

    /// A pool of only `written`, which need not be one of this pool's endpoints; if it is, the
    /// connection is shared.
    pub(crate) fn only(&self, written: &str) -> Result<Self, Error> {
        let url = endpoint::parse_one(written.trim())?;
        let options = self.options.clone();
        let environment = self.environment.clone();
        let roster = self.roster.read();
        match roster.members.iter().find(|member| *member.url == *url) {
            Some(member) => Ok(Self::of(vec![Arc::clone(member)], options, environment)),
            None => Self::new(vec![url.into()], options, environment),
        }
    }

    /// The endpoint to use next: the preferred one unless it failed a moment ago. `avoid` is
    /// taken only if there is no other.
    pub(crate) fn pick(&self, avoid: Option<usize>) -> usize {
        let roster = self.roster.read();
        let (members, order) = (&roster.members, &roster.order);
        let preferred = self.preferred.load(Ordering::Relaxed);
        let start = order.iter().position(|index| *index == preferred);
        let (after, from) = order.split_at(start.unwrap_or(0));
        let now = Instant::now();
        let mut soonest: Option<(Instant, usize)> = None;
        for &index in from.iter().chain(after) {
            if order.len() > 1 && avoid == Some(index) {
                continue;
            }
            match members[index].not_before() {
                Some(at) if at > now => {
                    if soonest.is_none_or(|(best, _)| at < best) {
                        soonest = Some((at, index));
                    }
                }
                _ => return index,
            }
        }
        let any = order.first().copied().unwrap_or(0);
        soonest.map_or(any, |(_, index)| index)
    }

    /// Uses `urls` too, and no more what was learned before and is not among them.
    pub(crate) fn learn(&self, urls: &[Arc<str>]) {
        let mut roster = self.roster.write();
        let roster = &mut *roster;
        for url in urls {
            let known = roster.members.iter().position(|member| member.url == *url);
            let index = match known {
                Some(index) => index,
                None => {
                    let member = Member::new(Arc::clone(url), &self.options, &self.environment);
                    // One that cannot be used is left out.
                    let Ok(member) = member else { continue };
                    roster.members.push(Arc::new(member));
                    roster.members.len() - 1
                }
            };
            if !roster.order.contains(&index) {
                let place = self.environment.chance.below(roster.order.len() + 1);
                roster.order.insert(place, index);
            }
        }
        let (members, given) = (&roster.members, roster.given);
        roster
            .order
            .retain(|index| *index < given || urls.contains(&members[*index].url));
    }

    /// A link to endpoint `index`, connecting if need be. A failure means that nothing was sent.
    ///
    /// Cancel safe: a dropped attempt is taken over by the next caller.
    pub(crate) async fn link(&self, index: usize) -> Result<Link, Failure> {
        let member = self.member(index);
        member.link(index).await
    }

    /// Says that somebody waits on `link`: if the member falls silent, the connection is broken,
    /// since there are others to go to. Without others a slow answer is better than none.
    pub(crate) fn wait(&self, link: &Link, wait: Wait) -> Option<Waiting> {
        (self.len() > 1).then(|| link.wait(wait))
    }

    /// `index` answered: it is used until it fails.
    pub(crate) fn succeeded(&self, index: usize) {
        self.roster.read().members[index].succeeded();
        if self.preferred.load(Ordering::Relaxed) != index {
            self.preferred.store(index, Ordering::Relaxed);
        }
    }

    /// `index` failed: it is passed over for a while, longer each time in a row.
    pub(crate) fn failed(&self, index: usize, failure: &Failure) {
        self.roster.read().members[index].failed(failure);
    }

    /// Why no server is reached, for each endpoint; `None` if one of them answers.
    pub(crate) fn unreached(&self) -> Option<Vec<(Arc<str>, String)>> {
        let roster = self.roster.read();
        let mut used = roster.order.clone();
        used.sort_unstable();
        let members = used.iter().map(|index| &roster.members[*index]);
        members
            .map(|member| Some((Arc::clone(&member.url), member.trouble()?)))
            .collect()
    }

    /// `link` is broken or silent: the next user makes a new connection.
    pub(crate) fn discard(&self, link: &Link) {
        self.roster.read().members[link.index].discard(link);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{member::PENALTY_LIMIT, *};
    use crate::{ErrorKind, error::classify::Fate};

    fn pool(count: usize) -> Pool {
        let urls = (1..=count)
            .map(|port| format!("http://127.0.0.1:{port}").into())
            .collect();
        Pool::new(
            urls,
            TransportOptions {
                connect_timeout: Duration::from_secs(1),
                keep_alive_interval: Duration::from_secs(10),
                keep_alive_timeout: Duration::from_secs(5),
            },
            Environment::default(),
        )
        .unwrap()
    }

    fn silence() -> Failure {
        Failure::deadline(Duration::from_secs(1))
    }

    #[tokio::test(start_paused = true)]
    async fn why_no_server_is_reached_is_known_until_one_answers() {
        let pool = pool(2);
        let told = |pool: &Pool| -> Vec<String> {
            let unreached = pool.unreached().unwrap();
            unreached.into_iter().map(|(_, why)| why).collect()
        };
        assert_eq!(told(&pool), ["no answer yet", "no answer yet"]);
        let refused = pool.link(0).await.unwrap_err();
        pool.failed(0, &refused);
        // What was found out is not forgotten for a call that had no time left.
        pool.failed(0, &Failure::unconnected_deadline(Duration::from_secs(1)));
        pool.failed(1, &silence());
        let seen = told(&pool);
        assert!(seen[0].contains("refused"), "{seen:?}");
        assert!(seen[1].contains("no answer within 1"), "{seen:?}");
        pool.succeeded(1);
        assert_eq!(pool.unreached(), None);
        pool.failed(1, &silence());
        let refusal = Failure::read(&tonic::Status::unavailable("etcdserver: no leader"));
        pool.failed(0, &refusal);
        assert_eq!(pool.unreached(), None, "a refusal is an answer");
    }

    /// The clients of a member that fails spread over the two others.
    #[tokio::test(start_paused = true)]
    async fn the_next_endpoint_differs_from_client_to_client() {
        let mut next = [0; 3];
        for _ in 0..400 {
            let pool = pool(3);
            pool.succeeded(0);
            pool.failed(0, &silence());
            next[pool.pick(None)] += 1;
        }
        assert_eq!(next[0], 0);
        assert!(next[1] > 100 && next[2] > 100, "{next:?}");
    }

    #[tokio::test]
    async fn learned_endpoints_come_and_go_and_given_ones_stay() {
        let pool = pool(1);
        let url = |port: u16| Arc::<str>::from(format!("http://127.0.0.1:{port}"));
        pool.learn(&[url(1), url(2), url(3)]);
        assert_eq!(pool.urls(), [url(1), url(2), url(3)]);
        pool.succeeded(2);
        pool.learn(&[url(2)]);
        assert_eq!(pool.urls(), [url(1), url(2)]);
        assert_ne!(pool.pick(None), 2, "it is not a member any more");
        pool.learn(&[url(3)]);
        assert_eq!(pool.urls(), [url(1), url(3)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_endpoint_is_passed_over_until_its_penalty_ends() {
        let pool = pool(2);
        let first = pool.pick(None);
        pool.failed(first, &silence());
        assert_eq!(pool.pick(None), 1 - first);
        tokio::time::advance(PENALTY_LIMIT).await;
        assert_eq!(pool.pick(None), first);
    }

    #[tokio::test(start_paused = true)]
    async fn success_makes_an_endpoint_the_preferred_one() {
        let pool = pool(3);
        pool.succeeded(2);
        assert_eq!(pool.pick(None), 2);
        assert_ne!(pool.pick(Some(2)), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn when_all_failed_the_soonest_to_recover_is_used() {
        let pool = pool(2);
        for _ in 0..5 {
            pool.failed(0, &silence());
        }
        pool.failed(1, &silence());
        assert_eq!(pool.pick(None), 1);
        assert_eq!(pool.pick(Some(1)), 0);
    }

    #[tokio::test]
    async fn a_missing_socket_is_a_refused_connection() {
        let pool = pool(1).only("unix:///nowhere/handfast.sock").unwrap();
        assert_eq!(pool.link(0).await.unwrap_err().kind, ErrorKind::Connect);
    }

    #[tokio::test]
    async fn a_refused_connection_says_so_and_nothing_was_sent() {
        let failure = pool(1).link(0).await.unwrap_err();
        assert_eq!(
            (failure.kind, failure.fate),
            (ErrorKind::Connect, Fate::NotSent)
        );
        assert!(failure.message.contains("refused"), "{}", failure.message);
    }
}
