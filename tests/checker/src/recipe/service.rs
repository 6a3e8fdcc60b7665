//! Services: G1 to G5.
//!
//! Owns the comparison of what is offered with what is registered.

use std::collections::BTreeMap;

use crate::{history::Nanos, text::Shown};

use super::{
    Broken, Findings, Invariant, Registration, ServiceStory, Story,
    lives::{Life, Sessions, lives},
    timeline::{Timeline, at},
};

/// Judges one service.
pub(super) fn check(service: &ServiceStory, story: &Story, time: &Timeline) -> Vec<Broken> {
    let judge = Judge {
        service,
        story,
        time,
        lives: lives(&time.log, &service.prefix),
        marks: lives(&time.log, &service.left),
        sessions: Sessions::read(&time.log),
    };
    let mut found = Findings::default();
    judge.owners(&mut found);
    judge.offered(&mut found);
    for registration in &service.registrations {
        judge.final_leave(registration, &mut found);
        judge.listed(registration, &mut found);
        judge.buried(registration, &mut found);
    }
    judge.forgotten(&mut found);
    found.0
}

struct Judge<'a> {
    service: &'a ServiceStory,
    story: &'a Story,
    time: &'a Timeline,
    /// Of the instances' keys.
    lives: Vec<Life>,
    /// Of what those who left wrote.
    marks: Vec<Life>,
    sessions: Sessions,
}

impl Judge<'_> {
    fn of(&self, instance: &str) -> impl Iterator<Item = &Life> {
        let prefix = self.service.prefix.len();
        self.lives
            .iter()
            .filter(move |life| life.key[prefix..] == *instance.as_bytes())
    }

    /// Whether the life ended by leaving: with a mark of the same revision.
    fn has_left(&self, life: &Life) -> bool {
        let Some(end) = life.deleted else {
            return false;
        };
        let prefix = self.service.left.len();
        self.marks.iter().any(|mark| {
            let said = mark.puts.iter().any(|kv| kv.mod_revision == end);
            said && mark.key[prefix..] == life.key
        })
    }

    /// G1: while it is there, an instance belongs to one program, and is on a lease.
    fn owners(&self, found: &mut Findings) {
        for life in &self.lives {
            let owners = life.puts.iter();
            let owners = owners.map(|kv| (kv.lease, self.sessions.owner(kv.lease)));
            let mut owners: Vec<_> = owners.collect();
            owners.dedup_by(|a, b| a.0 == b.0 || (a.1.is_some() && a.1 == b.1));
            let key = Shown(&life.key);
            if owners.len() > 1 {
                let what = format!("{key} ({}) belongs to {owners:x?}", life.created);
                found.add(Invariant::G1, what);
            }
            if let Some(kv) = life.puts.iter().find(|kv| kv.lease == 0) {
                let what = format!("{key} is on no lease from revision {}", kv.mod_revision);
                found.add(Invariant::G1, what);
            }
        }
    }

    /// G2: everything offered is there at that revision, or is suspected to be for a while.
    fn offered(&self, found: &mut Findings) {
        let mut last: BTreeMap<&str, i64> = BTreeMap::new();
        for listing in &self.service.listings {
            let (who, revision, when) = (&listing.observer, listing.revision, at(listing.at));
            let before = last.entry(who).or_default();
            if revision < *before {
                let what = format!("{who} was shown revision {revision} after {before} at {when}");
                found.add(Invariant::G2, what);
            }
            *before = revision.max(*before);
            if revision > self.time.log.to {
                continue;
            }
            for listed in &listing.instances {
                let name = &listed.instance;
                let lives: Vec<&Life> = self.of(name).collect();
                let is_there = lives.iter().any(|life| life.lives_at(revision));
                let over = lives.iter().rev().find(|life| life.end() <= revision);
                let left = over.is_some_and(|life| self.has_left(life));
                if !is_there && (left || !listed.suspect) {
                    let how = if left { "had left" } else { "was not there" };
                    let what =
                        format!("{who} was offered {name} at {when}, which {how} at {revision}");
                    found.add(Invariant::G2, what);
                }
            }
            let names: Vec<_> = listing
                .instances
                .iter()
                .map(|it| it.instance.as_bytes())
                .collect();
            let prefix = self.service.prefix.len();
            let missing = self
                .lives
                .iter()
                .find(|life| life.lives_at(revision) && !names.contains(&&life.key[prefix..]));
            if let Some(life) = missing {
                let key = Shown(&life.key);
                let what = format!("{who} was not offered {key} at {when} of revision {revision}");
                found.add(Invariant::G2, what);
            }
        }
    }

    /// G3: what was unregistered, and confirmed, is not put again by that program.
    fn final_leave(&self, registration: &Registration, found: &mut Findings) {
        let Some(left) = registration.left else {
            return;
        };
        let Registration {
            instance, client, ..
        } = registration;
        // The program may have registered it once more.
        let again = self.service.registrations.iter();
        let again = again.filter(|it| it.instance == *instance && it.client == *client);
        let again = again.map(|it| it.told).filter(|&told| told > left).min();
        for life in self.of(instance) {
            let late = life.puts.iter().find(|kv| {
                let owner = self.sessions.owner(kv.lease);
                owner == Some(client.as_str())
                    && self.time.not_before(kv.mod_revision) >= left
                    && again.is_none_or(|again| self.time.by(kv.mod_revision) < again)
            });
            // A registration is put before its program is told.
            let starts = self
                .service
                .registrations
                .iter()
                .any(|it| it.client == *client && it.instance == *instance && it.told > left);
            if let Some(kv) = late.filter(|_| !starts) {
                let (revision, left) = (kv.mod_revision, at(left));
                let what = format!("{client} put {instance} at {revision}, unregistered at {left}");
                found.add(Invariant::G3, what);
            }
            let stays = life.deleted.is_none();
            if stays && !starts && self.sessions.owner(life.lease()) == Some(client) {
                let what = format!("{instance} of {client} is still there though unregistered");
                found.add(Invariant::G3, what);
            }
        }
    }

    /// G4: an instance that is declared is never missing for long.
    fn listed(&self, registration: &Registration, found: &mut Findings) {
        let Registration {
            instance, client, ..
        } = registration;
        let ends = [registration.leaving, registration.ended];
        let end = ends.into_iter().flatten().min().unwrap_or(self.time.end());
        for (from, to) in self.gaps(instance, registration.told, end) {
            // A session that was lost may have to be noticed first.
            if self.time.calm(from, to) > self.story.patience {
                let (from, to) = (at(from), at(to));
                let what = format!("{instance} of {client} was missing from {from} to {to}");
                found.add(Invariant::G4, what);
            }
        }
    }

    /// When no key of an instance was there.
    fn gaps(&self, instance: &str, from: Nanos, to: Nanos) -> Vec<(Nanos, Nanos)> {
        let mut gaps = Vec::new();
        let mut at = from;
        for life in self.of(instance) {
            let begin = self.time.not_before(life.created);
            if begin > at {
                gaps.push((at, begin.min(to)));
            }
            let end = life.deleted.map_or(self.time.end(), |it| self.time.by(it));
            at = at.max(end);
        }
        gaps.push((at, to));
        gaps.retain(|(from, to)| from < to);
        gaps
    }

    /// G5: a dead program's instance goes with its lease, and is offered no more soon after.
    fn buried(&self, registration: &Registration, found: &mut Findings) {
        let Registration {
            instance, client, ..
        } = registration;
        let Some(crash) = registration.ended else {
            return;
        };
        for life in self.of(instance) {
            let own = self.sessions.owner(life.lease()) == Some(client);
            let gone = life.deleted.map_or(self.time.end(), |it| self.time.by(it));
            if own && self.time.calm(crash, gone) > self.story.patience {
                let (crash, gone) = (at(crash), at(gone));
                let what = format!("{instance} of {client}, dead at {crash}, stayed until {gone}");
                found.add(Invariant::G5, what);
            }
        }
    }

    /// G5: each observer's last view before a death was followed by another in time.
    fn forgotten(&self, found: &mut Findings) {
        let mut views: BTreeMap<&str, Vec<&super::Listing>> = BTreeMap::new();
        for listing in &self.service.listings {
            views.entry(&listing.observer).or_default().push(listing);
        }
        let prefix = self.service.prefix.len();
        for life in &self.lives {
            let Some(revision) = life.deleted else {
                continue;
            };
            let gone = self.time.by(revision);
            let name = String::from_utf8_lossy(&life.key[prefix..]).into_owned();
            let next = self.of(&name).find(|it| it.created >= revision);
            let back = next.map_or(self.time.end(), |it| self.time.not_before(it.created));
            for (who, views) in &views {
                // An observer looks again and again: what it still offers counts.
                let late = views.iter().find(|view| {
                    let offered = view.instances.iter();
                    let mut offered = offered.filter(|it| it.instance == name && !it.suspect);
                    view.at < back
                        && self.time.calm(gone, view.at) > self.story.prompt
                        && offered.next().is_some()
                });
                if let Some(view) = late {
                    let (gone, when) = (at(gone), at(view.at));
                    let what = format!("{who} still offers {name} at {when}, gone since {gone}");
                    found.add(Invariant::G5, what);
                }
            }
        }
    }
}
