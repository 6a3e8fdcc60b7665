//! What a granted place becomes: something that is held.
//!
//! Owns how its key is given back. What holding is, is [`handfast_core::held`]'s.

use futures::future::BoxFuture;
use handfast_core::{
    held::{Grant, Held, Leave, Notice},
    session::Reaped,
};

pub(crate) use handfast_core::held::Limits;

use super::{entry::Admission, leave, place::Place, txns::Leaving};
pub(crate) use crate::tenure::Tenure;

impl Tenure {
    /// Begins with a granted place; watches over it from now on.
    pub(crate) fn begin(admission: Admission, limits: Limits) -> Self {
        let Admission {
            place,
            previous_died,
        } = admission;
        let (kind, name) = (place.line.kind, place.line.name.clone());
        let grant = Grant {
            epoch: place.epoch.clone(),
            key: place.key.clone(),
            token: place.revision,
            limits,
        };
        let held = Held::begin(grant, Notice::Watch, HeldPlace(place));
        Self::new(held, kind, name, previous_died)
    }
}

struct HeldPlace(Place);

impl Leave for HeldPlace {
    fn leave(self: Box<Self>) -> BoxFuture<'static, Reaped<bool>> {
        leave::was_there(self.0.leave(Leaving::Holder))
    }
}
