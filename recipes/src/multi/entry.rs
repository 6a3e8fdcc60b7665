//! Getting a place in several queues at once and waiting until all are the first.
//!
//! Owns the way from asking to being granted; leaves no key behind wherever it is dropped.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::future::select_all;
use handfast_core::{
    Backoff, Client, Epoch, Txn, TxnResponse,
    session::{self, Departure, Reaped},
};

use super::{
    party::{Lines, Party},
    txns::{self, Attempted, Leaving, Stand, Taken},
};
use crate::{
    Error, Member, Waiting,
    line::{
        entry::{FIRST_WAIT, WAIT_LIMIT},
        leave::Left,
        look,
        place::Place,
        txns::{Seen, Standing},
    },
    way::{Blocked, OnWait, Way},
};

/// Granted places, and under which of them the holder before died.
#[derive(Debug)]
pub(super) struct Admission {
    pub(super) party: Party,
    pub(super) died: Vec<bool>,
}

/// What a try without waiting came to.
#[derive(Debug)]
pub(super) enum Tried {
    Admitted(Admission),
    Held { name: Bytes, holder: Member },
}

/// Places on their way to the grant. Dropping them gives them up in the background.
#[derive(Debug)]
pub(super) struct Entry {
    party: Option<Party>,
    /// The name that is waited for.
    blocked: Option<usize>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        if let Some(party) = self.party.take() {
            drop(party.leave(Leaving::Waiter(None)));
        }
    }
}

impl Way for Entry {
    type Goal = Lines;
    /// Under which names the holder before died.
    type Granted = Vec<bool>;
    type Admission = Admission;

    /// Chooses keys, which have no values.
    async fn open(epoch: &Epoch, lines: &Arc<Lines>, _: Bytes) -> Self {
        for line in &lines.0 {
            epoch.settled(&line.name).await;
        }
        Self {
            party: Some(Party::new(epoch, lines)),
            blocked: None,
        }
    }

    async fn wait(&mut self, on_wait: Option<&OnWait>) -> Result<Vec<bool>, Error> {
        let mut seen = self.join().await?;
        let client = self.party().first().epoch.client();
        let mut backoff = Backoff::new(FIRST_WAIT, WAIT_LIMIT).drawn_by(client.chance());
        loop {
            let standings = match seen.what {
                Stand::Granted(died) => {
                    self.party().first().still_alive()?;
                    return Ok(died);
                }
                Stand::Gone(which) => return Err(self.party().places[which].thrown_out().await),
                Stand::Not(standings) => standings,
            };
            let Some((which, predecessor)) = self.blocked_by(&standings)? else {
                seen = self.look_through(&standings).await?;
                continue;
            };
            self.blocked = Some(which);
            if let Some(on_wait) = on_wait {
                report(&self.party().places[which], on_wait).await?;
            }
            if self.until_change(predecessor, seen.at).await? == Departure::Unsure {
                tokio::time::sleep(backoff.next()).await;
            } else {
                backoff.reset();
            }
            seen = self.verify().await?;
        }
    }

    fn into_admission(mut self, died: Vec<bool>) -> Result<Admission, Error> {
        self.party().first().still_alive()?;
        let party = self
            .party
            .take()
            .expect("an entry has its places until it is consumed");
        Ok(Admission { party, died })
    }

    async fn give_up(mut self, limit: Duration) -> Option<Blocked> {
        let party = self.party.take()?;
        let blocked = self.blocked.filter(|_| party.first().revision > 0);
        let name = blocked.map(|which| party.places[which].line.name.clone());
        let left = party.leave(Leaving::Waiter(blocked));
        match (tokio::time::timeout(limit, left).await, name) {
            (Ok(Reaped::Answered(Left { ahead, .. })), Some(name)) => Some(Blocked { name, ahead }),
            _ => None,
        }
    }
}

impl Entry {
    fn party(&self) -> &Party {
        self.party
            .as_ref()
            .expect("an entry has its places until it is consumed")
    }

    fn party_mut(&mut self) -> &mut Party {
        self.party
            .as_mut()
            .expect("an entry has its places until it is consumed")
    }

    /// Takes all names if all are free.
    pub(super) async fn attempt(mut self) -> Result<Tried, Error> {
        let mut foreign = None;
        let client = self.party().first().epoch.client();
        let mut backoff = Backoff::new(FIRST_WAIT, WAIT_LIMIT).drawn_by(client.chance());
        loop {
            let answer = self.put(|client, party| txns::attempt(client, party, foreign));
            let answer = answer.await?;
            match txns::attempted(self.party(), &answer)? {
                Attempted::Taken(taken) => {
                    let mut seen = self.note_taken(taken, answer.header.revision).await?;
                    if let Stand::Not(standings) = &seen.what {
                        seen = self.look_through(standings).await?;
                    }
                    match seen.what {
                        Stand::Granted(died) => {
                            return self.into_admission(died).map(Tried::Admitted);
                        }
                        Stand::Gone(which) => {
                            return Err(self.party().places[which].thrown_out().await);
                        }
                        // Cannot be: the keys were put while nobody had a place.
                        Stand::Not(_) => {}
                    }
                }
                Attempted::Held {
                    which,
                    holder,
                    grant,
                } => {
                    let line = &self.party().places[which].line;
                    line.same_kind(Some(&holder), grant.as_ref())?;
                    let (name, holder) = (line.name.clone(), line.member(&holder, 1));
                    return Ok(Tried::Held { name, holder });
                }
                Attempted::Foreign { all: true } => foreign = Some(answer.header.revision),
                Attempted::Foreign { all: false } => match self.find_holder().await? {
                    Ok(held) => return Ok(held),
                    Err(seen) => foreign = Some(seen),
                },
            }
            // Foreign keys that change all the time make the guard fail now and then.
            tokio::time::sleep(backoff.next() / 4).await;
        }
    }

    /// Reads all queues; the revision of the first look when nobody has a place in any.
    async fn find_holder(&self) -> Result<Result<Tried, i64>, Error> {
        let mut seen = i64::MAX;
        for place in &self.party().places {
            let found = look::places(place.epoch.client(), &place.line, None).await?;
            if let Some(holder) = found.what.into_iter().next() {
                let name = place.line.name.clone();
                return Ok(Ok(Tried::Held { name, holder }));
            }
            seen = seen.min(found.at);
        }
        Ok(Err(seen))
    }

    async fn join(&mut self) -> Result<Seen<Stand>, Error> {
        let answer = self.put(txns::join).await?;
        let taken = txns::joined(self.party(), &answer)?;
        self.note_taken(taken, answer.header.revision).await
    }

    /// Sends what may put the keys, and keeps account of what may still be under way.
    async fn put(&mut self, build: impl Fn(&Client, &Party) -> Txn) -> Result<TxnResponse, Error> {
        let before = self.party().doubtful;
        // While it is under way, dropping this future leaves its fate open.
        self.party_mut().doubtful = true;
        let mut doubt = before;
        let party = self.party();
        let epoch = &party.first().epoch;
        let answer = session::commit(epoch, &mut doubt, || build(epoch.client(), party)).await;
        self.party_mut().doubtful = doubt;
        answer.map_err(|unanswered| self.party().first().failed(unanswered))
    }

    async fn note_taken(&mut self, taken: Taken, at: i64) -> Result<Seen<Stand>, Error> {
        match taken {
            Taken::Put { revision, stand } => {
                self.party_mut().put_at(revision);
                Ok(Seen { what: stand, at })
            }
            Taken::Before { revision } => {
                self.party_mut().put_at(revision);
                self.verify().await
            }
            Taken::Not(which) => {
                let what = Stand::Gone(which);
                Ok(Seen { what, at })
            }
        }
    }

    async fn verify(&self) -> Result<Seen<Stand>, Error> {
        let answer = self.send(txns::verify).await?;
        Ok(Seen {
            what: txns::verified(self.party(), &answer)?,
            at: answer.header.revision,
        })
    }

    /// The first name with somebody in the way, and the key of who it is.
    fn blocked_by(&self, standings: &[Standing]) -> Result<Option<(usize, Bytes)>, Error> {
        for (which, standing) in standings.iter().enumerate() {
            if let Standing::Behind {
                predecessor,
                holder,
                grant,
            } = standing
            {
                let line = &self.party().places[which].line;
                line.same_kind(holder.as_ref(), grant.as_ref())?;
                return Ok(Some((which, predecessor.key.clone())));
            }
        }
        Ok(None)
    }

    /// Looks for predecessors behind foreign keys; takes the grants if there are none.
    async fn look_through(&self, standings: &[Standing]) -> Result<Seen<Stand>, Error> {
        let party = self.party();
        let places = party.places.iter().zip(standings);
        let unclear = places.filter(|(_, standing)| matches!(standing, Standing::Unclear));
        for (place, _) in unclear {
            let client = place.epoch.client();
            let ahead = look::pairs_before(client, &place.line, place.revision).await?;
            let Some(predecessor) = ahead.what.last().cloned() else {
                continue;
            };
            let behind = Standing::Behind {
                predecessor,
                holder: ahead.what.into_iter().next(),
                grant: None,
            };
            let mut found: Vec<Standing> = Vec::with_capacity(party.places.len());
            for other in &party.places {
                // Of the others nothing needs to be known while this one is in the way.
                if other.key == place.key {
                    found.push(behind);
                    break;
                }
                found.push(Standing::Unclear);
            }
            return Ok(Seen {
                what: Stand::Not(found),
                at: ahead.at,
            });
        }
        let answer = self.send(txns::grant).await?;
        Ok(Seen {
            what: txns::granted(party, &answer)?,
            at: answer.header.revision,
        })
    }

    async fn send(&self, build: impl Fn(&Client, &Party) -> Txn) -> Result<TxnResponse, Error> {
        let mut doubt = false;
        let party = self.party();
        let epoch = &party.first().epoch;
        let answer = session::commit(epoch, &mut doubt, || build(epoch.client(), party)).await;
        answer.map_err(|unanswered| party.first().failed(unanswered))
    }

    /// Waits until the predecessor or an own key is gone, or it is time to look again.
    async fn until_change(&self, predecessor: Bytes, seen: i64) -> Result<Departure, Error> {
        let party = self.party();
        let first = party.first();
        let (epoch, client) = (&first.epoch, first.epoch.client());
        let interval = epoch
            .verify_interval()
            .mul_f64(client.chance().factor(0.8, 1.2));
        let own = party.places.iter().map(|place| place.key.clone());
        let waits = std::iter::once(predecessor).chain(own);
        let departures = waits.map(|key| Box::pin(Departure::of(client, key, seen + 1)));
        tokio::select! {
            biased;
            reason = epoch.lost() => Err(first.line.session_lost(reason)),
            (departure, ..) = select_all(departures) => Ok(departure),
            () = tokio::time::sleep(interval) => Ok(Departure::Deleted { revision: seen }),
        }
    }
}

async fn report(place: &Place, on_wait: &OnWait) -> Result<(), Error> {
    let ahead = look::pairs_before(place.epoch.client(), &place.line, place.revision).await?;
    on_wait(&Waiting {
        name: place.line.name.clone(),
        position: ahead.what.len() + 1,
        holder: ahead.what.first().map(|pair| place.line.member(pair, 1)),
    });
    Ok(())
}
