//! The client: keys and values, and the door to locks and elections.
//!
//! Owns the handle and its being closed. What the calls mean is said in the Python package.

use std::sync::atomic::{AtomicBool, Ordering};

use handfast::{AcquireOptions, Handfast, TryLock, Waiting, core::WatchOptions};
use handfast_bindings::{feed, holding::Guard, lease::Kept, once};
use pyo3::{IntoPyObjectExt, prelude::*, pybacked::PyBackedBytes};

use crate::{
    bridge,
    call::Call,
    config,
    convert::{self, ToPython},
    errors::{Failure, Given, IntoException, duration, optional_duration, raise, whole_seconds},
    queue::Queue,
    request::{RawCompare, RawOp, Request},
    rt::{self, Local},
    service::{self, Said},
    session::Session,
};

/// What a try without waiting came to: (holding, None) or (None, holder).
struct Tried(TryLock);

impl ToPython for Tried {
    fn to_python(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        match self.0 {
            TryLock::Acquired(guard) => {
                (Guard::Lock(guard).to_python(py)?, py.None()).into_py_any(py)
            }
            TryLock::Held(holder) => (py.None(), convert::member(py, &holder)?).into_py_any(py),
        }
    }
}

/// A client of one cluster, with one session for all that it holds.
#[pyclass(frozen, module = "handfast._native")]
pub(crate) struct Client {
    handfast: Local<Handfast>,
    closed: AtomicBool,
}

impl Client {
    fn open(&self, py: Python<'_>) -> PyResult<&Handfast> {
        let handfast = self.handfast.get()?;
        if self.closed.load(Ordering::Acquire) {
            return Err(Failure::closed("client").into_exception(py));
        }
        Ok(handfast)
    }

    fn core(&self, py: Python<'_>) -> PyResult<handfast::core::Client> {
        Ok(self.open(py)?.client().clone())
    }

    fn named_lock(
        &self,
        py: Python<'_>,
        name: &[u8],
        options: LockOptions,
    ) -> PyResult<handfast::Lock> {
        let lock = self.open(py)?.lock(name);
        Ok(lock.options(options.read(py)?))
    }
}

impl Client {
    fn named_locks(
        &self,
        py: Python<'_>,
        names: &[PyBackedBytes],
        options: LockOptions,
    ) -> PyResult<handfast::MultiLock> {
        let names = names.iter().map(|name| &name[..]);
        let lock = self.open(py)?.multi_lock(names);
        Ok(lock.options(options.read(py)?))
    }

    fn named_once(
        &self,
        py: Python<'_>,
        name: &[u8],
        input: Option<&[u8]>,
        timeout: Option<&Given>,
    ) -> PyResult<handfast::Once> {
        let mut once = self.open(py)?.once(name);
        if let Some(input) = input {
            once = once.input(input);
        }
        if let Some(timeout) = optional_duration(py, "timeout", timeout)? {
            once = once.timeout(timeout);
        }
        Ok(once)
    }
}

/// How a lock is acquired and held; by its names in Python.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct LockOptions {
    timeout: Option<Given>,
    max_hold: Option<Given>,
    beat: Option<Given>,
    rejoin: bool,
    /// Called with (name, position, holder) while waiting.
    on_wait: Option<Py<PyAny>>,
}

impl LockOptions {
    fn read(self, py: Python<'_>) -> PyResult<AcquireOptions> {
        let mut options = AcquireOptions::new().rejoin(self.rejoin);
        if let Some(timeout) = optional_duration(py, "timeout", self.timeout.as_ref())? {
            options = options.timeout(timeout);
        }
        if let Some(limit) = optional_duration(py, "max_hold", self.max_hold.as_ref())? {
            options = options.max_hold(limit);
        }
        if let Some(interval) = optional_duration(py, "beat", self.beat.as_ref())? {
            options = options.beat(interval);
        }
        if let Some(callback) = self.on_wait {
            let tell = bridge::teller(callback)?;
            options = options.on_wait(move |waiting: &Waiting| tell(waiting.clone()));
        }
        Ok(options)
    }
}

#[pymethods]
impl Client {
    #[allow(
        clippy::too_many_arguments,
        reason = "Python's side has names for them"
    )]
    /// No input or output: an unreachable cluster shows at the first call.
    #[new]
    fn new(
        py: Python<'_>,
        endpoints: Vec<String>,
        namespace: Vec<u8>,
        ttl: Option<Given>,
        timeout: Option<Given>,
        beat: Option<Given>,
        app: String,
    ) -> PyResult<Self> {
        let mut builder = Handfast::builder()
            .endpoints(endpoints)
            .namespace(namespace);
        builder = builder.app_name(app);
        if let Some(ttl) = optional_duration(py, "ttl", ttl.as_ref())? {
            builder = builder.ttl(ttl);
        }
        if let Some(interval) = optional_duration(py, "beat", beat.as_ref())? {
            builder = builder.require_beat(interval);
        }
        if let Some(timeout) = optional_duration(py, "timeout", timeout.as_ref())? {
            builder = builder.request_timeout(timeout);
            builder = builder.session(|session| session.connect_timeout(Some(timeout)));
        }
        let handfast = raise(py, builder.build())?;
        Ok(Self {
            handfast: Local::new(handfast),
            closed: AtomicBool::new(false),
        })
    }

    /// Gives up everything held, and refuses further calls.
    fn close(&self) -> PyResult<Call> {
        let handfast = self.handfast.get()?.clone();
        self.closed.store(true, Ordering::Release);
        Ok(Call::shielded(async move { Ok(handfast.close().await?) }))
    }

    /// Reports that the program's work goes on, if it is to.
    fn beat(&self, py: Python<'_>) -> PyResult<()> {
        raise(py, self.open(py)?.beat())
    }

    /// The session, which is opened if need be.
    fn session(&self, py: Python<'_>) -> PyResult<Session> {
        let runtime = rt::handle()?;
        let _inside = runtime.enter();
        Ok(Session::new(raise(py, self.open(py)?.session())?))
    }

    #[allow(
        clippy::too_many_arguments,
        reason = "Python's side has names for them"
    )]
    /// Reads `key`, the keys up to `end`, or those that start with it.
    fn range(
        &self,
        py: Python<'_>,
        key: &[u8],
        end: Option<&[u8]>,
        prefix: bool,
        limit: i64,
        revision: i64,
        keys_only: bool,
    ) -> PyResult<Call> {
        let mut read = self.core(py)?.range(key).limit(limit).revision(revision);
        if prefix {
            read = read.prefix();
        }
        if let Some(end) = end {
            read = read.range_end(end);
        }
        if keys_only {
            read = read.keys_only();
        }
        Ok(Call::new(async move { Ok(read.await?) }))
    }

    fn put(
        &self,
        py: Python<'_>,
        key: &[u8],
        value: &[u8],
        lease: i64,
        prev_kv: bool,
    ) -> PyResult<Call> {
        let mut put = self.core(py)?.put(key, value).lease(lease);
        if prev_kv {
            put = put.prev_kv();
        }
        Ok(Call::new(async move { Ok(put.await?) }))
    }

    fn delete(&self, py: Python<'_>, key: &[u8], prefix: bool, prev_kv: bool) -> PyResult<Call> {
        let mut delete = self.core(py)?.delete(key);
        if prefix {
            delete = delete.prefix();
        }
        if prev_kv {
            delete = delete.prev_kv();
        }
        Ok(Call::new(async move { Ok(delete.await?) }))
    }

    fn txn(
        &self,
        py: Python<'_>,
        when: Vec<RawCompare>,
        then: Vec<RawOp>,
        otherwise: Vec<RawOp>,
    ) -> PyResult<Call> {
        let request = raise(py, Request::read(when, then, otherwise))?;
        let txn = self.core(py)?.txn();
        let txn = txn
            .when(request.when)
            .then(request.then)
            .otherwise(request.otherwise);
        Ok(Call::new(async move { Ok(txn.commit().await?) }))
    }

    /// Discards the history before `revision`.
    fn compact(&self, py: Python<'_>, revision: i64) -> PyResult<Call> {
        let client = self.core(py)?;
        Ok(Call::new(async move {
            client.compact(revision, true).await?;
            Ok::<(), Failure>(())
        }))
    }

    fn lease(&self, py: Python<'_>, ttl: Given, keep: bool) -> PyResult<Call> {
        let ttl = whole_seconds(py, "ttl", &ttl)?;
        let client = self.core(py)?;
        Ok(Call::new(Kept::grant(client, ttl, keep)))
    }

    /// A watch, once it is in place.
    fn watch(
        &self,
        py: Python<'_>,
        key: &[u8],
        prefix: bool,
        start_revision: i64,
        prev_kv: bool,
    ) -> PyResult<Call> {
        let mut options = match prefix {
            true => WatchOptions::prefix(key),
            false => WatchOptions::key(key),
        };
        options = options.start_revision(start_revision);
        if prev_kv {
            options = options.prev_kv();
        }
        let client = self.core(py)?;
        Ok(Call::new(async move {
            feed::open_watch(&client, options).await
        }))
    }

    fn lock(&self, py: Python<'_>, name: &[u8], options: LockOptions) -> PyResult<Call> {
        let lock = self.named_lock(py, name, options)?;
        Ok(Call::new(
            async move { Ok(Guard::Lock(lock.acquire().await?)) },
        ))
    }

    fn try_lock(&self, py: Python<'_>, name: &[u8], options: LockOptions) -> PyResult<Call> {
        let lock = self.named_lock(py, name, options)?;
        Ok(Call::new(
            async move { Ok(Tried(lock.try_acquire().await?)) },
        ))
    }

    fn multi_lock(
        &self,
        py: Python<'_>,
        names: Vec<PyBackedBytes>,
        options: LockOptions,
    ) -> PyResult<Call> {
        let lock = self.named_locks(py, &names, options)?;
        Ok(Call::new(async move { Ok(lock.acquire().await?) }))
    }

    fn try_multi_lock(
        &self,
        py: Python<'_>,
        names: Vec<PyBackedBytes>,
        options: LockOptions,
    ) -> PyResult<Call> {
        let lock = self.named_locks(py, &names, options)?;
        Ok(Call::new(async move { Ok(lock.try_acquire().await?) }))
    }

    /// Everybody at a lock, the holder first.
    fn lock_queue(&self, py: Python<'_>, name: &[u8]) -> PyResult<Call> {
        let lock = self.open(py)?.lock(name);
        Ok(Call::new(async move { Ok(lock.look().await?) }))
    }

    /// Takes the lock away from its holder.
    fn break_lock(&self, py: Python<'_>, name: &[u8], why: String) -> PyResult<Call> {
        let lock = self.open(py)?.lock(name);
        Ok(Call::new(async move { Ok(lock.break_holder(&why).await?) }))
    }

    fn campaign(
        &self,
        py: Python<'_>,
        name: &[u8],
        value: &[u8],
        options: LockOptions,
    ) -> PyResult<Call> {
        let election = self.open(py)?.election(name).value(value);
        let election = election.options(options.read(py)?);
        Ok(Call::new(async move {
            Ok(Guard::Leadership(election.campaign().await?))
        }))
    }

    /// Takes the lead away from whoever has it.
    fn break_leader(&self, py: Python<'_>, name: &[u8], why: String) -> PyResult<Call> {
        let election = self.open(py)?.election(name);
        Ok(Call::new(
            async move { Ok(election.break_leader(&why).await?) },
        ))
    }

    fn leader(&self, py: Python<'_>, name: &[u8]) -> PyResult<Call> {
        let election = self.open(py)?.election(name);
        Ok(Call::new(async move { Ok(election.leader().await?) }))
    }

    /// Everybody at an election, the leader first.
    fn candidates(&self, py: Python<'_>, name: &[u8]) -> PyResult<Call> {
        let election = self.open(py)?.election(name);
        Ok(Call::new(async move { Ok(election.candidates().await?) }))
    }

    fn observe(&self, py: Python<'_>, name: &[u8]) -> PyResult<Call> {
        let election = self.open(py)?.election(name);
        Ok(Call::new(async move { Ok(election.observe().await?) }))
    }

    /// A configuration, once it has a value.
    fn config(&self, py: Python<'_>, key: Vec<u8>, options: config::Options) -> PyResult<Call> {
        let handfast = self.open(py)?.clone();
        let patience = options.patience(py)?;
        let opening = config::open(handfast, key, options, patience);
        Ok(Call::new(opening))
    }

    /// Publishes at one revision; with `since`, only if nothing was published there after it.
    fn publish(
        &self,
        py: Python<'_>,
        key: &[u8],
        entries: Vec<config::Entry>,
        since: Option<i64>,
        note: String,
    ) -> PyResult<Call> {
        let mut publish = config::filled(self.open(py)?.publish(key), entries, note);
        if let Some(since) = since {
            publish = publish.if_unchanged_since(since);
        }
        Ok(Call::new(async move { Ok(publish.send().await?) }))
    }

    /// Who published what was in force at `revision`; 0 means now.
    fn publication(&self, py: Python<'_>, key: Vec<u8>, revision: i64) -> PyResult<Call> {
        let handfast = self.open(py)?.clone();
        Ok(Call::new(async move {
            Ok(handfast.publication(key, revision).await?)
        }))
    }

    /// The result of work that is done once, or the work: (result, holding, work).
    fn once(
        &self,
        py: Python<'_>,
        name: &[u8],
        input: Option<&[u8]>,
        timeout: Option<Given>,
    ) -> PyResult<Call> {
        let once = self.named_once(py, name, input, timeout.as_ref())?;
        Ok(Call::new(once::begin(once)))
    }

    /// The result of work that is done once, now or as soon as there is one.
    fn once_result(
        &self,
        py: Python<'_>,
        name: &[u8],
        input: Option<&[u8]>,
        wait: bool,
    ) -> PyResult<Call> {
        let once = self.named_once(py, name, input, None)?;
        Ok(Call::new(async move {
            match wait {
                true => Ok(Some(once.wait().await?)),
                false => Ok(once.get().await?),
            }
        }))
    }

    /// Forgets the result of work that is done once: whether there was one.
    fn once_forget(&self, py: Python<'_>, name: &[u8], input: Option<&[u8]>) -> PyResult<Call> {
        let once = self.named_once(py, name, input, None)?;
        Ok(Call::new(async move { Ok(once.forget().await?) }))
    }

    fn queue(&self, py: Python<'_>, name: &[u8], keep_history: Option<usize>) -> PyResult<Queue> {
        let mut queue = self.open(py)?.queue(name);
        if let Some(items) = keep_history {
            queue = queue.keep_history(items);
        }
        Ok(Queue::new(queue))
    }

    /// Lists an instance of a service.
    fn register(
        &self,
        py: Python<'_>,
        service: String,
        id: String,
        said: Said,
        wait: Given,
    ) -> PyResult<Call> {
        let wait = duration(py, "wait", &wait)?;
        let handfast = self.open(py)?.clone();
        Ok(Call::new(service::register(
            handfast, service, id, said, wait,
        )))
    }

    fn service_list(&self, py: Python<'_>, service: String) -> PyResult<Call> {
        let service = self.open(py)?.service(service);
        Ok(Call::new(async move { Ok(service.list().await?) }))
    }

    fn service_set_status(
        &self,
        py: Python<'_>,
        service: String,
        id: String,
        status: &str,
    ) -> PyResult<Call> {
        let service = self.open(py)?.service(service);
        let status = raise(py, service::status(status))?;
        Ok(Call::new(async move {
            Ok(service.set_status(&id, status).await?)
        }))
    }

    /// Who is listed, kept up to date.
    fn discover(&self, py: Python<'_>, service: String, guard: Option<Given>) -> PyResult<Call> {
        let mut discover = self.open(py)?.discover(service);
        if let Some(window) = optional_duration(py, "guard", guard.as_ref())? {
            discover = discover.guard(window);
        }
        Ok(Call::new(async move { Ok(discover.open().await?) }))
    }
}
