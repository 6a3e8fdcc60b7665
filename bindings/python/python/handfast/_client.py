"""The client for programs without asyncio. Every call blocks, lets other threads run, and can be
ended with Ctrl-C."""

from __future__ import annotations

import builtins
import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar, overload

from . import _config
from ._client_base import ClientBase
from ._config import NO_DEFAULT, Config, Publication
from ._election import Election
from ._frames import Closing
from ._held import HeldLock
from ._holding import Busy, lock_options
from ._lease import Lease, LeaseBase, lease_id
from ._lock import Lock
from ._multi import MultiLock
from ._once import Once
from ._queue import Queue
from ._requests import DEFAULT_ENDPOINT, Pending
from ._service import Discovery, Service
from ._session import Session
from ._streams import Watch
from ._txn import Compare, Op
from ._types import (
    CasResult,
    DeleteResult,
    KeyValue,
    PutResult,
    RangeResult,
    TxnResult,
    Waiting,
    several,
    to_bytes,
)

T = TypeVar("T")


class Client(ClientBase, Closing):
    """A client of one cluster. Threads may share it. Made by `connect`; close it, or use `with`."""

    def get(self, key: str | bytes, *, revision: int = 0) -> KeyValue | None:
        """The pair at `key`, now or at `revision`; `None` if there is none."""
        return self._requests.get(key, revision).wait()

    def range(
        self,
        key: str | bytes,
        *,
        prefix: bool = False,
        end: str | bytes | None = None,
        limit: int = 0,
        revision: int = 0,
        keys_only: bool = False,
    ) -> RangeResult:
        """All keys that start with `key` (`prefix`), or from `key` up to `end`, without it."""
        return self._requests.range(key, end, prefix, limit, revision, keys_only).wait()

    def put(
        self,
        key: str | bytes,
        value: str | bytes,
        *,
        lease: LeaseBase | int | None = None,
        prev_kv: bool = False,
    ) -> PutResult:
        """Write `key`; with a `lease` it goes away when the lease ends."""
        return self._requests.put(key, value, lease_id(lease), prev_kv).wait()

    def delete(
        self, key: str | bytes, *, prefix: bool = False, prev_kv: bool = False
    ) -> DeleteResult:
        """Delete `key`, or all keys that start with it."""
        return self._requests.delete(key, prefix, prev_kv).wait()

    def cas(
        self,
        key: str | bytes,
        expected: str | bytes | KeyValue | None,
        value: str | bytes,
        *,
        lease: LeaseBase | int | None = None,
    ) -> CasResult:
        """Compare and set: write `value` if `key` is as `expected`.

        A value; a pair that was read, which stands for exactly that version of the key; or `None`
        for a key that is not there.
        """
        return self._requests.cas(key, expected, value, lease_id(lease)).wait()

    def txn(
        self,
        *,
        when: Iterable[Compare] = (),
        then: Iterable[Op] = (),
        otherwise: Iterable[Op] = (),
    ) -> TxnResult:
        """If every condition holds do `then`, else `otherwise`; all of it at one revision."""
        return self._requests.txn(when, then, otherwise).wait()

    def compact(self, revision: int) -> None:
        """Discard the history before `revision`."""
        self._requests.compact(revision).wait()

    def lease(self, ttl: int, *, keep_alive: bool = True) -> Lease:
        """A lease of `ttl` seconds (servers raise less than 2), renewed in the background."""
        return Pending(self._requests.native.lease(ttl, keep_alive), Lease).wait()

    def watch(
        self,
        key: str | bytes,
        *,
        prefix: bool = False,
        start_revision: int = 0,
        prev_kv: bool = False,
    ) -> Watch:
        """Watch `key`, or all keys that start with it. When this returns, no change is missed."""
        call = self._requests.native.watch(to_bytes(key), prefix, start_revision, prev_kv)
        return Pending(call, Watch).wait()

    def lock(
        self,
        name: str | bytes,
        *,
        timeout: float | None = None,
        max_hold: float | None = None,
        beat: float | None = None,
        rejoin: bool = False,
        on_wait: Callable[[Waiting], object] | None = None,
    ) -> Lock:
        """A lock called `name`, for `with`.

        `timeout`: seconds to wait for it (default: for ever). `max_hold`: seconds after which it
        is given up, whatever the work does. `beat`: it is given up when `beat()` is not called
        for so long. `rejoin`: wait again if the session is lost while waiting. `on_wait`: called,
        on a thread of the module, with who holds and how many come first, when the wait begins
        and whenever the line right ahead gets shorter; it must be quick.
        """
        options = lock_options(timeout, max_hold, beat, rejoin, on_wait)
        return Lock(self._requests, to_bytes(name, "name"), options)

    def try_lock(
        self, name: str | bytes, *, max_hold: float | None = None, beat: float | None = None
    ) -> HeldLock | Busy:
        """Take the lock if it is free; else a `Busy`, which counts as false, with its holder."""
        return self.lock(name, max_hold=max_hold, beat=beat).try_acquire()

    def multi_lock(
        self,
        names: Iterable[str | bytes],
        *,
        timeout: float | None = None,
        max_hold: float | None = None,
        beat: float | None = None,
        rejoin: bool = False,
        on_wait: Callable[[Waiting], object] | None = None,
    ) -> MultiLock:
        """The locks called `names`, at most 60, held together or not at all; else as `lock`."""
        given = tuple(to_bytes(name, "name") for name in several(names, "the names"))
        options = lock_options(timeout, max_hold, beat, rejoin, on_wait)
        return MultiLock(self._requests, given, options)

    def election(
        self,
        name: str | bytes,
        *,
        value: str | bytes = b"",
        max_hold: float | None = None,
        beat: float | None = None,
        rejoin: bool = False,
        on_wait: Callable[[Waiting], object] | None = None,
    ) -> Election:
        """An election called `name`; `value` is what observers see when this candidate leads.

        The other options are as of `lock`.
        """
        name, value = to_bytes(name, "name"), to_bytes(value, "value")
        options = lock_options(None, max_hold, beat, rejoin, on_wait)
        return Election(self._requests, name, value, options)

    @overload
    def config(
        self,
        key: str | bytes,
        *,
        type: builtins.type[T],
        prefix: bool = ...,
        default: T = ...,
        validate: Callable[[T], object] | None = ...,
        snapshot: str | os.PathLike[str] | None = ...,
        patience: float = ...,
    ) -> Config[T]: ...

    @overload
    def config(
        self,
        key: str | bytes,
        *,
        type: Any = ...,
        prefix: bool = ...,
        default: Any = ...,
        validate: Callable[[Any], object] | None = ...,
        snapshot: str | os.PathLike[str] | None = ...,
        patience: float = ...,
    ) -> Config[Any]: ...

    def config(
        self,
        key: str | bytes,
        *,
        type: Any = Any,
        prefix: bool = False,
        default: Any = NO_DEFAULT,
        validate: Callable[[Any], object] | None = None,
        snapshot: str | os.PathLike[str] | None = None,
        patience: float = 1.0,
    ) -> Config[Any]:
        """The configuration at `key`, once there is a value.

        It is JSON, and becomes a `type`: a dataclass, `list[int]` and the like; `bytes` and `str`
        take it as it is. `prefix`: all keys that start with `key`, a field for each. `default`:
        the value while nothing is published. `validate`: raises, or returns False, for a value
        that is not to be taken over; the one before it stays. `snapshot`: a file that keeps the
        last good value, to start with when no server answers within `patience` seconds. Decoding
        and validating run on a thread of the module: they must be quick.
        """
        given = _config.options(type, prefix, default, validate, snapshot, patience)
        call = self._requests.native.config(to_bytes(key), given)
        return Pending(call, lambda native: Config[Any](native, prefix)).wait()

    def publish(
        self,
        key: str | bytes,
        value: Any,
        *,
        prefix: bool = False,
        unchanged_since: int | None = None,
        note: str = "",
    ) -> int:
        """Publish a configuration; returns the revision.

        `str` and `bytes` are published as they are, everything else as JSON. `prefix`: `value` is
        a mapping from what follows `key` to values, all published at one revision; None deletes.
        `unchanged_since`: only if nothing was published there after this revision, else
        PublishConflictError. `note`: why, for whoever looks later.
        """
        name = to_bytes(key)
        call = _config.publish(self._requests, name, value, prefix, unchanged_since, note)
        return call.wait()

    def publication(self, key: str | bytes, *, revision: int = 0) -> Publication | None:
        """Who published what is in force at `key`, or was at `revision`, if that is known."""
        call = self._requests.native.publication(to_bytes(key), revision)
        return Pending(call, _config.optional_publication).wait()

    def once(
        self,
        name: str | bytes,
        *,
        input: str | bytes | None = None,
        timeout: float | None = None,
    ) -> Once:
        """Work called `name` that is done once.

        `input`: what the result depends on, or a digest of it; with another one the work is done
        again. `timeout`: seconds to wait for another's result (default: for ever).
        """
        given = None if input is None else to_bytes(input, "input")
        return Once(self._requests, to_bytes(name, "name"), given, timeout)

    def queue(self, name: str | bytes, *, keep_history: int | None = None) -> Queue:
        """A queue called `name`.

        `keep_history`: how many acknowledged items are remembered (default 10,000), so that their
        ids are not accepted again and later items can wait for them.
        """
        name = to_bytes(name, "name")
        return Queue(self._requests.native.queue(name, keep_history), name)

    def service(self, name: str) -> Service:
        """A service called `name`: to register instances, and to look."""
        return Service(self._requests, name)

    def discover(self, name: str, *, guard: float | None = None) -> Discovery:
        """Who offers the service `name`, kept up to date.

        `guard`: when more than half of the instances, and at least three, die within so many
        seconds, they are kept for a while as suspects (default: the TTL; 0 believes it at once).
        """
        call = self._requests.native.discover(name, guard)
        return Pending(call, lambda native: Discovery(native, name)).wait()

    @property
    def session(self) -> Session:
        """The session that everything this client holds is held on."""
        return Session(self._requests.native.session())

    def close(self) -> None:
        """Give up everything held, and refuse further calls."""
        self._requests.close().wait()


def connect(
    endpoints: str | Sequence[str] = DEFAULT_ENDPOINT,
    *,
    ttl: float | None = None,
    namespace: str | bytes = b"",
    timeout: float | None = None,
    beat: float | None = None,
    app: str | None = None,
) -> Client:
    """A client of the cluster at `endpoints`. An unreachable cluster shows at the first call.

    `ttl`: seconds that what this program holds stays held after it was last heard of (default
    10). `namespace`: put before every key. `timeout`: seconds that one call may take (default 5).
    `beat`: everything held is given up when `beat()` is not called for so many seconds. `app`: the
    name others see when they look who holds (default: the program's).
    """
    return Client(
        endpoints, ttl=ttl, namespace=namespace, timeout=timeout, beat=beat, app=app
    )
