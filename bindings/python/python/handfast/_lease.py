"""Leases, for programs without asyncio: keys that live as long as their writer."""

from __future__ import annotations

import threading

from . import _native
from ._frames import Ending
from ._requests import Pending, nothing
from ._types import LeaseInfo


class LeaseBase:
    """A lease that is renewed for as long as this object lives, unless that was not wanted."""

    def __init__(self, native: _native.Lease) -> None:
        self._native = native
        self._lost_event: threading.Event | None = None
        self.id = native.id
        self.ttl = native.ttl

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id:x} ttl={self.ttl}s>"

    @property
    def lost_event(self) -> threading.Event:
        """Set when the renewal found the lease gone."""
        if self._lost_event is None:
            event = self._lost_event = threading.Event()
            self._native.on_lost(lambda _: event.set())
        return self._lost_event

    def stop(self) -> None:
        """Stop renewing it; it then ends after its TTL."""
        self._native.stop()

    def _revoke(self) -> Pending[None]:
        return Pending(self._native.revoke(), nothing)

    def _info(self) -> Pending[LeaseInfo]:
        return Pending(self._native.time_to_live(), LeaseInfo.from_native)


class Lease(LeaseBase, Ending):
    """A lease. Leaving a `with` block revokes it, and deletes the keys on it."""

    def revoke(self) -> None:
        """End it now, and delete the keys on it."""
        self._revoke().wait()

    def info(self) -> LeaseInfo:
        """How long it has left, and which keys are on it."""
        return self._info().wait()

    def _end(self) -> None:
        self.revoke()


def lease_id(lease: LeaseBase | int | None) -> int:
    """The id of a lease, however it was given."""
    if lease is None:
        return 0
    return lease.id if isinstance(lease, LeaseBase) else lease
