"""Services: being listed, finding others and picking one; for programs without asyncio."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, Self

from . import _native
from ._frames import Closing, Ending, Items, Reading
from ._requests import Pending, Requests, nothing
from ._service_types import (
    Instance,
    PickWay,
    RegistrationState,
    Said,
    ServiceChange,
    ServiceList,
    Status,
    instances,
    optional_number,
    said,
)
from ._types import to_bytes


class RegistrationBase:
    """An instance that is kept listed: also under new leases, after an outage."""

    def __init__(
        self, native: _native.Registration, service: str, requests: Requests
    ) -> None:
        self._native = native
        self._requests = requests
        self.service = service
        self.id = native.id
        self.key = native.key
        requests.kept.add(self)

    @property
    def state(self) -> RegistrationState:
        """Where it stands, as far as is known here."""
        return RegistrationState.from_native(self._native.state())

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.service}/{self.id} {self.state.kind}>"

    def _update(self, change: Said) -> Pending[int]:
        return Pending(self._native.update(change), int)

    def _unregister(self) -> Pending[None]:
        self._requests.kept.discard(self)
        return Pending(self._native.unregister(), nothing)


class Registration(RegistrationBase, Ending):
    """An instance that is kept listed: also under new leases, after an outage.

    Leaving a `with` block unregisters it.
    """

    def update(
        self,
        *,
        addr: str | None = None,
        weight: int | None = None,
        zone: str | None = None,
        version: str | None = None,
        status: Status | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> int:
        """Change what is said of it, what is given here; returns the revision."""
        return self._update(said(addr, weight, zone, version, status, metadata)).wait()

    def unregister(self) -> None:
        """Take it off the list; others learn that it left."""
        self._unregister().wait()

    def _end(self) -> None:
        self.unregister()


class Picked:
    """An instance chosen for one call. Leaving a `with` block reports how the call went."""

    def __init__(self, native: _native.Picked) -> None:
        self._native = native
        self.instance = Instance.from_native(native.instance)

    @property
    def addr(self) -> str:
        """Where to call it."""
        return self.instance.addr

    def report(self, ok: bool, latency: float | None = None) -> None:
        """Say how the call went; without `latency` it took the time since the pick.

        An answer that says "no" is not a failure: what counts is whether the instance works.
        """
        self._native.report(ok, latency)

    def __repr__(self) -> str:
        return f"<Picked {self.instance.id} at {self.addr}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # An interrupt says nothing of the instance.
        if error is None or isinstance(error, Exception):
            self.report(error is None)


class DiscoveryBase:
    """A list that is followed, without input or output."""

    def __init__(self, native: _native.Discovery, service: str) -> None:
        self._native = native
        self._feeds: weakref.WeakSet[_native.ServiceFeed] = weakref.WeakSet()
        self.service = service

    def list(self) -> ServiceList:
        """Who is listed. Lost connections keep the list, and `stale_for` grows."""
        return ServiceList.from_native(self._native.list())

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.service!r} {len(self.list())} instances>"

    def _pick(self, way: PickWay, key: str | bytes | None) -> Picked:
        given = None if key is None else to_bytes(key)
        return Picked(self._native.pick(way, given))

    def _pick_when_ready(
        self, way: PickWay, key: str | bytes | None, timeout: float
    ) -> Pending[Picked]:
        given = None if key is None else to_bytes(key)
        return Pending(self._native.pick_when_ready(way, given, timeout), Picked)

    def _at_least(self, revision: int) -> Pending[None]:
        return Pending(self._native.at_least(revision), nothing)

    def _open_changes(self) -> _native.ServiceFeed:
        feed = self._native.changes()
        self._feeds.add(feed)
        return feed

    def _close(self) -> None:
        self._native.close()
        for feed in list(self._feeds):
            feed.close()


class ServiceReading(Reading[ServiceChange]):
    """Reads the changes of a service's list."""

    def _read(self, raw: Any) -> Iterable[ServiceChange]:
        return [ServiceChange.from_native(raw)]


class ServiceChanges(ServiceReading, Items[ServiceChange]):
    """The changes of a service's list, in order. Iterate; leaving a `with` block closes it."""


class Discovery(DiscoveryBase, Closing):
    """Who offers a service, kept up to date. Leaving a `with` block closes it."""

    def pick(
        self,
        way: PickWay = "p2c",
        *,
        key: str | bytes | None = None,
        timeout: float | None = None,
    ) -> Picked:
        """Choose an instance for a call; no input or output.

        `p2c`: the less loaded of two random ones. `hash` and `sticky` take a `key`. Raises
        NoInstanceError if there is none; with `timeout` it waits for one for so many seconds.
        """
        if timeout is None:
            return self._pick(way, key)
        return self._pick_when_ready(way, key, timeout).wait()

    def changes(self) -> ServiceChanges:
        """Follow the changes of the list, from now on."""
        return ServiceChanges(self._open_changes())

    def at_least(self, revision: int) -> None:
        """Wait until everything up to `revision` is in the list."""
        self._at_least(revision).wait()

    def close(self) -> None:
        """Follow no more, and end all iterations."""
        self._close()


class ServiceBase:
    """Puts the calls of a service together."""

    def __init__(self, requests: Requests, name: str) -> None:
        self._requests = requests
        self.name = name

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"

    def _register(self, id: str, wait: float, entry: Said) -> _native.Call:
        return self._requests.native.register(self.name, id, entry, wait)

    def _list(self) -> Pending[tuple[Instance, ...]]:
        return Pending(self._requests.native.service_list(self.name), instances)

    def _set_status(self, id: str, status: Status) -> Pending[int | None]:
        call = self._requests.native.service_set_status(self.name, id, status)
        return Pending(call, optional_number)


class Service(ServiceBase):
    """A service by its name; made by `Client.service`. grpc-go's etcd resolver reads it, too."""

    def register(
        self,
        id: str,
        addr: str,
        *,
        weight: int = 1,
        zone: str = "",
        version: str = "",
        status: Status = "up",
        metadata: Mapping[str, str] | None = None,
        wait: float = 0.0,
    ) -> Registration:
        """List an instance, and keep it listed until it is unregistered or the client closed.

        `wait`: seconds to wait for another instance of this id to go, as after a crash. Raises
        DuplicateInstanceError if somebody else has the id.
        """
        entry = said(addr, weight, zone, version, status, metadata or {})
        call = self._register(id, wait, entry)
        return Pending(
            call, lambda native: Registration(native, self.name, self._requests)
        ).wait()

    def list(self) -> tuple[Instance, ...]:
        """Who is listed now: one read, nothing is followed."""
        return self._list().wait()

    def set_status(self, id: str, status: Status) -> int | None:
        """Set the status of an instance from outside: the revision, `None` if it is not listed."""
        return self._set_status(id, status).wait()
