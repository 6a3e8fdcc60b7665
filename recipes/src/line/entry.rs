//! Getting a place in a queue and waiting until it is the first.
//!
//! Owns the way from asking to being granted; leaves no key behind wherever it is dropped. What
//! follows the grant is [`super::tenure`].

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use handfast_core::{
    Backoff, Epoch,
    session::{self, Departure, Reaped},
};

use super::{
    Line,
    leave::Left,
    look,
    place::Place,
    txns::{self, Attempted, Joined, Leaving, Seen, Standing},
};
use crate::{
    Error, Member, Waiting,
    way::{Blocked, OnWait, Way},
};

/// Between two looks that could not be waited for by a watch.
pub(crate) const FIRST_WAIT: Duration = Duration::from_millis(50);
pub(crate) const WAIT_LIMIT: Duration = Duration::from_secs(1);

/// A granted place.
#[derive(Debug)]
pub(crate) struct Admission {
    pub(crate) place: Place,
    pub(crate) previous_died: bool,
}

/// What a try without waiting came to.
#[derive(Debug)]
pub(crate) enum Tried {
    Admitted(Admission),
    Held(Member),
}

/// A place on its way to the grant. Dropping it gives the place up in the background.
#[derive(Debug)]
pub(crate) struct Entry {
    place: Option<Place>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        if let Some(place) = self.place.take() {
            drop(place.leave(Leaving::Waiter { report: false }));
        }
    }
}

impl Way for Entry {
    type Goal = Line;
    /// Whether the holder before died.
    type Granted = bool;
    type Admission = Admission;

    /// Chooses a key.
    async fn open(epoch: &Epoch, line: &Arc<Line>, value: Bytes) -> Self {
        epoch.settled(&line.name).await;
        Self {
            place: Some(Place::new(epoch.clone(), Arc::clone(line), value)),
        }
    }

    async fn wait(&mut self, on_wait: Option<&OnWait>) -> Result<bool, Error> {
        let mut seen = self.join().await?;
        let mut backoff = self.backoff();
        loop {
            match seen.what {
                Standing::First { previous } => {
                    self.place().still_alive()?;
                    return Ok(previous.is_some());
                }
                Standing::Unclear => seen = self.look_through().await?,
                Standing::Gone => return Err(self.place().thrown_out().await),
                Standing::Behind {
                    predecessor,
                    holder,
                    grant,
                } => {
                    self.place()
                        .line
                        .same_kind(holder.as_ref(), grant.as_ref())?;
                    if let Some(on_wait) = on_wait {
                        self.report(on_wait).await?;
                    }
                    if self.until_change(predecessor.key, seen.at).await? == Departure::Unsure {
                        tokio::time::sleep(backoff.next()).await;
                    } else {
                        backoff.reset();
                    }
                    seen = self.verify().await?;
                }
            }
        }
    }

    fn into_admission(mut self, previous_died: bool) -> Result<Admission, Error> {
        self.place().still_alive()?;
        let place = self
            .place
            .take()
            .expect("an entry has its place until it is consumed");
        Ok(Admission {
            place,
            previous_died,
        })
    }

    async fn give_up(mut self, limit: Duration) -> Option<Blocked> {
        let place = self.place.take()?;
        let name = place.line.name.clone();
        let joined = place.revision > 0;
        let left = place.leave(Leaving::Waiter { report: joined });
        match tokio::time::timeout(limit, left).await {
            Ok(Reaped::Answered(Left { ahead, .. })) if joined => Some(Blocked { name, ahead }),
            _ => None,
        }
    }
}

impl Entry {
    fn place(&self) -> &Place {
        self.place
            .as_ref()
            .expect("an entry has its place until it is consumed")
    }

    fn place_mut(&mut self) -> &mut Place {
        self.place
            .as_mut()
            .expect("an entry has its place until it is consumed")
    }

    /// Takes the name if it is free.
    pub(crate) async fn attempt(mut self) -> Result<Tried, Error> {
        let mut foreign = None;
        let mut backoff = self.backoff();
        loop {
            let answer = self.put(|place| txns::attempt(place.epoch.client(), place, foreign));
            let answer = answer.await?;
            let at = answer.header.revision;
            match txns::attempted(self.place(), &answer)? {
                Attempted::Taken(joined) => {
                    let mut seen = self.note_joined(joined, at).await?;
                    if matches!(seen.what, Standing::Unclear) {
                        seen = self.look_through().await?;
                    }
                    match seen.what {
                        Standing::First { previous } => {
                            return self.into_admission(previous.is_some()).map(Tried::Admitted);
                        }
                        Standing::Gone => return Err(self.place().thrown_out().await),
                        // Cannot be: the key was put while nobody had a place.
                        Standing::Unclear | Standing::Behind { .. } => {}
                    }
                }
                Attempted::Held { holder, grant } => {
                    self.place().line.same_kind(Some(&holder), grant.as_ref())?;
                    return Ok(Tried::Held(self.place().line.member(&holder, 1)));
                }
                Attempted::Foreign { all: true } => foreign = Some(at),
                Attempted::Foreign { all: false } => {
                    let place = self.place();
                    let found = look::places(place.epoch.client(), &place.line, None).await?;
                    if let Some(holder) = found.what.into_iter().next() {
                        return Ok(Tried::Held(holder));
                    }
                    foreign = Some(found.at);
                }
            }
            // Foreign keys that change all the time make the guard fail now and then.
            tokio::time::sleep(backoff.next() / 4).await;
        }
    }

    async fn join(&mut self) -> Result<Seen<Standing>, Error> {
        let answer = self
            .put(|place| txns::join(place.epoch.client(), place))
            .await?;
        let joined = txns::joined(self.place(), &answer)?;
        self.note_joined(joined, answer.header.revision).await
    }

    /// Sends what may put the key, and keeps account of what may still be under way.
    async fn put(
        &mut self,
        build: impl Fn(&Place) -> handfast_core::Txn,
    ) -> Result<handfast_core::TxnResponse, Error> {
        let before = self.place().doubtful;
        // While it is under way, dropping this future leaves its fate open.
        self.place_mut().doubtful = true;
        let mut doubt = before;
        let place = self.place();
        let answer = session::commit(&place.epoch, &mut doubt, || build(place)).await;
        self.place_mut().doubtful = doubt;
        answer.map_err(|unanswered| self.place().failed(unanswered))
    }

    async fn note_joined(&mut self, joined: Joined, at: i64) -> Result<Seen<Standing>, Error> {
        match joined {
            Joined::Put { revision, standing } => {
                self.place_mut().revision = revision;
                Ok(Seen {
                    what: *standing,
                    at,
                })
            }
            Joined::Before { revision } => {
                self.place_mut().revision = revision;
                self.verify().await
            }
            Joined::Not => Ok(Seen {
                what: Standing::Gone,
                at,
            }),
        }
    }

    async fn verify(&self) -> Result<Seen<Standing>, Error> {
        let place = self.place();
        let answer = self
            .send(|| txns::verify(place.epoch.client(), place))
            .await?;
        let what = txns::verified(place, &answer)?;
        Ok(Seen {
            what,
            at: answer.header.revision,
        })
    }

    /// Looks for a predecessor behind foreign keys; takes the grant if there is none.
    async fn look_through(&self) -> Result<Seen<Standing>, Error> {
        let place = self.place();
        let ahead = look::pairs_before(place.epoch.client(), &place.line, place.revision).await?;
        if let Some(predecessor) = ahead.what.last().cloned() {
            let holder = ahead.what.into_iter().next();
            let what = Standing::Behind {
                predecessor,
                holder,
                grant: None,
            };
            return Ok(Seen { what, at: ahead.at });
        }
        let answer = self
            .send(|| txns::grant(place.epoch.client(), place))
            .await?;
        let what = txns::granted(place, &answer)?;
        Ok(Seen {
            what,
            at: answer.header.revision,
        })
    }

    fn backoff(&self) -> Backoff {
        let client = self.place().epoch.client();
        Backoff::new(FIRST_WAIT, WAIT_LIMIT).drawn_by(client.chance())
    }

    async fn send(
        &self,
        build: impl Fn() -> handfast_core::Txn,
    ) -> Result<handfast_core::TxnResponse, Error> {
        let mut doubt = false;
        let answer = session::commit(&self.place().epoch, &mut doubt, build).await;
        answer.map_err(|unanswered| self.place().failed(unanswered))
    }

    /// Waits until the predecessor or the own key is gone, or it is time to look again.
    async fn until_change(&self, predecessor: Bytes, seen: i64) -> Result<Departure, Error> {
        let place = self.place();
        let (epoch, client) = (&place.epoch, place.epoch.client());
        let interval = epoch
            .verify_interval()
            .mul_f64(client.chance().factor(0.8, 1.2));
        tokio::select! {
            biased;
            reason = epoch.lost() => Err(place.line.session_lost(reason)),
            departure = Departure::of(client, predecessor, seen + 1) => Ok(departure),
            departure = Departure::of(client, place.key.clone(), seen + 1) => Ok(departure),
            () = tokio::time::sleep(interval) => Ok(Departure::Deleted { revision: seen }),
        }
    }

    async fn report(&self, on_wait: &OnWait) -> Result<(), Error> {
        let place = self.place();
        let ahead = look::pairs_before(place.epoch.client(), &place.line, place.revision).await?;
        let position = ahead.what.len() + 1;
        let holder = ahead.what.first().map(|pair| place.line.member(pair, 1));
        let name = place.line.name.clone();
        on_wait(&Waiting {
            name,
            position,
            holder,
        });
        Ok(())
    }
}
