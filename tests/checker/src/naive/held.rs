//! Holders of a lock and leaders of an election, who stand in line and are told in time.
//!
//! Owns the true course of tenures, with the keys they leave in the store.

use super::{dice::Dice, world::World};
use crate::{
    history::{Ending, Observation, Put, Request},
    recorder::{Recorder, TenureId},
};

const LOCK: &str = "held/lock";
const ELECTION: &str = "held/election";

/// Somebody in line.
struct Member {
    key: String,
    token: i64,
    tenure: Option<TenureId>,
}

/// Both lines.
#[derive(Default)]
pub(super) struct Holders {
    lock: Vec<Member>,
    election: Vec<Member>,
    count: usize,
}

impl Holders {
    pub(super) fn tick(&mut self, dice: &mut Dice, world: &mut World, to: &Recorder, now: u64) {
        let is_lock = dice.percent(50);
        let name = if is_lock { LOCK } else { ELECTION };
        let line = if is_lock {
            &mut self.lock
        } else {
            &mut self.election
        };
        match dice.below(4) {
            0 => {
                self.count += 1;
                let key = format!("{name}/{:x}", self.count);
                let put = Put {
                    lease: 1_000_000,
                    ..Put::new(key.clone(), format!("h{}", self.count))
                };
                let (token, _) = world.serve(&Request::Put(put));
                line.push(Member {
                    key,
                    token,
                    tenure: None,
                });
            }
            1 => {
                if let Some(first) = line.first_mut().filter(|first| first.tenure.is_none()) {
                    let (name, key, token) = (name.as_bytes(), first.key.clone(), first.token);
                    first.tenure = Some(if is_lock {
                        to.locked(now, name, &key, token)
                    } else {
                        to.elected(now, name, &key, token)
                    });
                }
            }
            2 if !line.is_empty() => {
                // Anybody may leave, the holder included, who is told before the key goes.
                let gone = line.remove(dice.below(line.len()));
                if let Some(tenure) = gone.tenure {
                    let how = *dice.pick(&[Ending::Lost, Ending::Released, Ending::Crashed]);
                    to.ended(now, tenure, how);
                }
                world.serve(&Request::delete(gone.key));
            }
            _ => {
                let first = self.election.first();
                let observation = Observation {
                    name: ELECTION.into(),
                    observer: "o".to_owned(),
                    at: 0,
                    token: first.map_or(0, |first| first.token),
                    value: "".into(),
                    revision: if dice.percent(70) {
                        world.revision()
                    } else {
                        0
                    },
                };
                to.observed(now, observation);
            }
        }
    }
}
