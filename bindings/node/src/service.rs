//! Services: registrations, discoveries and picks.
//!
//! Owns the crossing of entries and instances.

use bytes::Bytes;
use handfast::{
    Discovery, Entry, Instance, Pick, Picked, Registration, RegistrationState, ServiceChange,
    ServiceChanges, Status, core::session::lease_hex,
};
use handfast_bindings::{Cancel, Failure, Feed, runtime::Local};
use napi::{
    Env,
    bindgen_prelude::{Buffer, Either, PromiseRaw},
};
use napi_derive::napi;
use std::sync::{Mutex, PoisonError};

use crate::{
    cancel::CancelToken,
    client::NativeClient,
    crossing::{cancellable, no_threads, promise, until_closed, waiting},
    errors::NativeError,
    options::{bytes, span},
};

#[napi(object)]
pub struct NativeTag {
    pub name: String,
    pub value: String,
}

/// What an instance says of itself, or changes of it.
#[napi(object)]
pub struct NativeSaid {
    pub addr: Option<String>,
    pub weight: Option<u32>,
    pub zone: Option<String>,
    pub version: Option<String>,
    pub status: Option<String>,
    pub metadata: Option<Vec<NativeTag>>,
}

fn status(word: &str) -> Result<Status, Failure> {
    let known = [Status::Warming, Status::Up, Status::Draining];
    let found = known.into_iter().find(|status| status.code() == word);
    found.ok_or_else(|| {
        let problem = format!("{word:?} is none of warming, up, draining");
        Failure::invalid("status", problem)
    })
}

impl NativeSaid {
    /// Makes an entry say this, too.
    fn changes(self) -> Result<impl Fn(&mut Entry) + Send + Sync + 'static, Failure> {
        let status = self.status.as_deref().map(status).transpose()?;
        Ok(move |entry: &mut Entry| {
            entry.status = status.unwrap_or(entry.status);
            entry.weight = self.weight.unwrap_or(entry.weight);
            for (ours, theirs) in [
                (&self.addr, &mut entry.addr),
                (&self.zone, &mut entry.zone),
                (&self.version, &mut entry.version),
            ] {
                if let Some(ours) = ours {
                    theirs.clone_from(ours);
                }
            }
            if let Some(tags) = &self.metadata {
                let tags = tags.iter().map(|tag| (tag.name.clone(), tag.value.clone()));
                entry.metadata = tags.collect();
            }
        })
    }
}

#[napi(object)]
pub struct NativeInstance {
    pub id: String,
    pub addr: String,
    pub weight: u32,
    pub zone: String,
    pub version: String,
    pub status: String,
    pub metadata: Vec<NativeTag>,
    pub lease: Option<String>,
    pub token: i64,
    pub revision: i64,
    pub suspect: bool,
}

impl From<&Instance> for NativeInstance {
    fn from(instance: &Instance) -> Self {
        let entry = &instance.entry;
        let tags = entry.metadata.iter().map(|(name, value)| NativeTag {
            name: name.clone(),
            value: value.clone(),
        });
        Self {
            id: instance.id.clone(),
            addr: entry.addr.clone(),
            weight: entry.weight,
            zone: entry.zone.clone(),
            version: entry.version.clone(),
            status: entry.status.code().to_owned(),
            metadata: tags.collect(),
            lease: (instance.lease != 0).then(|| lease_hex(instance.lease)),
            token: instance.token,
            revision: instance.revision,
            suspect: instance.suspect,
        }
    }
}

/// An instance that is kept listed.
#[napi]
pub struct NativeRegistration(Local<Registration>);

#[napi(object)]
pub struct NativeStanding {
    pub code: String,
    pub revision: Option<i64>,
    pub lease: Option<String>,
    pub reason: Option<String>,
}

#[napi]
impl NativeRegistration {
    #[napi(getter)]
    pub fn key(&self) -> napi::Result<Buffer> {
        let registration = self.0.get().map_err(no_threads)?;
        Ok(registration.key().to_vec().into())
    }

    /// Where it stands. No input or output.
    #[napi(getter)]
    pub fn state(&self) -> napi::Result<NativeStanding> {
        let mut standing = NativeStanding {
            code: "pending".to_owned(),
            revision: None,
            lease: None,
            reason: None,
        };
        match self.0.get().map_err(no_threads)?.state() {
            RegistrationState::Listed { revision } => {
                standing.code = "listed".to_owned();
                standing.revision = Some(revision);
            }
            RegistrationState::Duplicate { lease } => {
                standing.code = "duplicate".to_owned();
                standing.lease = Some(lease_hex(lease));
            }
            RegistrationState::Ended(reason) => {
                standing.code = "ended".to_owned();
                standing.reason = Some(reason.code().to_owned());
            }
            // Pending, or one that this layer does not know yet.
            _ => {}
        }
        Ok(standing)
    }

    #[napi]
    pub fn update<'env>(
        &self,
        env: &'env Env,
        token: &CancelToken,
        said: NativeSaid,
    ) -> napi::Result<PromiseRaw<'env, Either<i64, NativeError>>> {
        let registration = self.0.get().map_err(no_threads)?.clone();
        let change = said.changes();
        cancellable(env, token, async move {
            Ok(registration.update(change?).await?)
        })
    }

    #[napi]
    pub fn unregister<'env>(
        &self,
        env: &'env Env,
    ) -> napi::Result<PromiseRaw<'env, Either<(), NativeError>>> {
        let registration = self.0.get().map_err(no_threads)?.clone();
        promise(env, async move {
            registration.unregister().await;
            Ok(())
        })
    }
}

#[napi]
impl NativeClient {
    /// Lists an instance, for as long as what this gives lives.
    #[napi]
    pub fn register<'env>(
        &self,
        env: &'env Env,
        token: &CancelToken,
        service: String,
        id: String,
        said: NativeSaid,
        wait_ms: Option<f64>,
    ) -> napi::Result<PromiseRaw<'env, Either<NativeRegistration, NativeError>>> {
        let handfast = self.handfast();
        waiting(env, token, &self.open, async move {
            let mut entry = Entry::new("");
            said.changes()?(&mut entry);
            let mut register = handfast?.service(service).instance(id, entry.addr);
            register = register.weight(entry.weight).status(entry.status);
            register = register.zone(entry.zone).version(entry.version);
            for (name, value) in entry.metadata {
                register = register.metadata(name, value);
            }
            if let Some(wait) = wait_ms {
                register = register.wait(span("waitMs", wait)?);
            }
            Ok(NativeRegistration(Local::new(register.register().await?)))
        })
    }

    /// Who is listed now.
    #[napi]
    pub fn service_list<'env>(
        &self,
        env: &'env Env,
        token: &CancelToken,
        service: String,
    ) -> napi::Result<PromiseRaw<'env, Either<Vec<NativeInstance>, NativeError>>> {
        let service = self.handfast().map(|handfast| handfast.service(service));
        cancellable(env, token, async move {
            let listed = service?.list().await?;
            Ok(listed.iter().map(NativeInstance::from).collect::<Vec<_>>())
        })
    }

    /// Sets the status of an instance from outside: the revision, if it is listed.
    #[napi]
    pub fn service_set_status<'env>(
        &self,
        env: &'env Env,
        token: &CancelToken,
        service: String,
        id: String,
        word: String,
    ) -> napi::Result<PromiseRaw<'env, Either<Option<i64>, NativeError>>> {
        let service = self.handfast().map(|handfast| handfast.service(service));
        cancellable(env, token, async move {
            Ok(service?.set_status(&id, status(&word)?).await?)
        })
    }

    #[napi]
    pub fn discover<'env>(
        &self,
        env: &'env Env,
        token: &CancelToken,
        service: String,
        guard_ms: Option<f64>,
    ) -> napi::Result<PromiseRaw<'env, Either<NativeDiscovery, NativeError>>> {
        let (handfast, open) = (self.handfast(), self.open.child());
        cancellable(env, token, async move {
            let mut discover = handfast?.discover(service);
            if let Some(guard) = guard_ms {
                discover = discover.guard(span("guardMs", guard)?);
            }
            Ok(NativeDiscovery {
                found: Local::new(Mutex::new(Some(discover.open().await?))),
                open,
            })
        })
    }
}

/// A followed list of instances, until it is closed or collected.
#[napi]
pub struct NativeDiscovery {
    found: Local<Mutex<Option<Discovery>>>,
    /// Pulled when it is closed, or the client.
    open: Cancel,
}

impl NativeDiscovery {
    fn found(&self) -> Result<Discovery, Failure> {
        let found = self
            .found
            .get()?
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let found = found.clone().filter(|_| !self.open.is_cancelled());
        found.ok_or_else(|| Failure::closed("discovery"))
    }
}

#[napi(object)]
pub struct NativeList {
    pub instances: Vec<NativeInstance>,
    pub revision: i64,
    pub stale_for_ms: f64,
}

fn way(word: &str, key: Option<&Buffer>) -> Result<Pick, Failure> {
    let key: Option<Bytes> = key.map(bytes);
    match (word, key) {
        ("p2c", None) => Ok(Pick::P2c),
        ("round_robin", None) => Ok(Pick::RoundRobin),
        ("weighted", None) => Ok(Pick::Weighted),
        ("random", None) => Ok(Pick::Random),
        ("hash", Some(key)) => Ok(Pick::Hash(key)),
        ("sticky", Some(key)) => Ok(Pick::Sticky(key)),
        ("hash" | "sticky", None) => Err(Failure::invalid("key", format!("{word} needs one"))),
        (_, Some(_)) => Err(Failure::invalid("key", "only hash and sticky take one")),
        _ => Err(Failure::invalid("by", format!("{word:?} is not known"))),
    }
}

#[napi]
impl NativeDiscovery {
    #[napi]
    pub fn list(&self) -> Either<NativeList, NativeError> {
        match self.found().map(|found| found.list()) {
            Ok(list) => Either::A(NativeList {
                instances: list.instances.iter().map(|it| (&**it).into()).collect(),
                revision: list.revision,
                stale_for_ms: list.stale_for.as_secs_f64() * 1000.0,
            }),
            Err(failure) => Either::B(failure.into()),
        }
    }

    #[napi]
    pub fn at_least<'env>(
        &self,
        env: &'env Env,
        token: &CancelToken,
        revision: i64,
    ) -> napi::Result<PromiseRaw<'env, Either<(), NativeError>>> {
        let found = self.found();
        until_closed(env, token, (&self.open, "discovery"), async move {
            found?.at_least(revision).await;
            Ok(())
        })
    }

    #[napi]
    pub fn changes(&self) -> Either<NativeServiceFeed, NativeError> {
        match self.found() {
            Ok(found) => Either::A(NativeServiceFeed {
                feed: Local::new(Feed::new(found.changes())),
                open: self.open.clone(),
            }),
            Err(failure) => Either::B(failure.into()),
        }
    }

    #[napi]
    pub fn pick(&self, by: String, key: Option<Buffer>) -> Either<NativePicked, NativeError> {
        let picked = way(&by, key.as_ref()).and_then(|way| Ok(self.found()?.pick(way)?));
        match picked {
            Ok(picked) => Either::A(NativePicked::from(picked)),
            Err(failure) => Either::B(failure.into()),
        }
    }

    #[napi]
    pub fn pick_when_ready<'env>(
        &self,
        env: &'env Env,
        token: &CancelToken,
        by: String,
        key: Option<Buffer>,
    ) -> napi::Result<PromiseRaw<'env, Either<NativePicked, NativeError>>> {
        let (way, found) = (way(&by, key.as_ref()), self.found());
        until_closed(env, token, (&self.open, "discovery"), async move {
            Ok(NativePicked::from(found?.pick_when_ready(way?).await))
        })
    }

    /// Follows no more, and ends all waits.
    #[napi]
    pub fn close(&self) -> napi::Result<()> {
        self.open.cancel();
        let found = self.found.get().map_err(no_threads)?;
        let found = found.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(Local::new(found));
        Ok(())
    }
}

/// An instance chosen for one call.
#[napi]
pub struct NativePicked(Local<Mutex<Option<Picked>>>);

impl From<Picked> for NativePicked {
    fn from(picked: Picked) -> Self {
        Self(Local::new(Mutex::new(Some(picked))))
    }
}

#[napi]
impl NativePicked {
    /// Which one; nothing once it was reported.
    #[napi]
    pub fn instance(&self) -> napi::Result<Option<NativeInstance>> {
        let picked = self.0.get().map_err(no_threads)?;
        let picked = picked.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(picked.as_ref().map(|picked| (&**picked.instance()).into()))
    }

    /// Says how the call went; without a time, with that since the pick. Once.
    #[napi]
    pub fn report(&self, ok: bool, latency_ms: Option<f64>) -> napi::Result<Option<NativeError>> {
        let picked = self.0.get().map_err(no_threads)?;
        let picked = picked.lock().unwrap_or_else(PoisonError::into_inner).take();
        let latency = latency_ms
            .map(|latency| span("latencyMs", latency))
            .transpose();
        match (picked, latency) {
            (_, Err(failure)) => return Ok(Some(failure.into())),
            (Some(picked), Ok(Some(latency))) => picked.report(ok, latency),
            (Some(picked), Ok(None)) => picked.done(ok),
            (None, Ok(_)) => {}
        }
        Ok(None)
    }
}

#[napi(object)]
pub struct NativeServiceChange {
    pub code: String,
    pub instance: NativeInstance,
    pub before: Option<NativeInstance>,
}

impl From<ServiceChange> for NativeServiceChange {
    fn from(change: ServiceChange) -> Self {
        let before = match &change {
            ServiceChange::Updated { before, .. } => Some((&**before).into()),
            _ => None,
        };
        Self {
            code: change.code().to_owned(),
            instance: (&**change.instance()).into(),
            before,
        }
    }
}

/// Changes of a service's list.
#[napi]
pub struct NativeServiceFeed {
    feed: Local<Feed<ServiceChanges>>,
    open: Cancel,
}

#[napi]
impl NativeServiceFeed {
    #[napi]
    pub fn next<'env>(
        &self,
        env: &'env Env,
        token: &CancelToken,
    ) -> napi::Result<PromiseRaw<'env, Either<Option<NativeServiceChange>, NativeError>>> {
        let next = self.feed.get().map_err(no_threads)?.next(None);
        until_closed(env, token, (&self.open, "discovery"), async move {
            Ok(next.await?.map(NativeServiceChange::from))
        })
    }

    #[napi]
    pub fn close(&self) -> napi::Result<()> {
        self.feed.get().map_err(no_threads)?.close();
        Ok(())
    }
}
