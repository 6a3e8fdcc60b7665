"""Holding and leading, for programs without asyncio."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from types import TracebackType
from typing import Generic, Self, TypeVar

from . import _native
from ._frames import Ending, Named
from ._holding import Entered, Holding, LockOptions
from ._requests import Requests
from ._txn import Compare, Op
from ._types import TxnResult

H = TypeVar("H", bound="Held")


class Held(Holding, Ending):
    """Something that is held: what locks, elections and the like have in common."""

    def __init__(self, native: _native.Holding, name: bytes) -> None:
        super().__init__(native, name)
        self._lost_event: threading.Event | None = None

    @property
    def lost_event(self) -> threading.Event:
        """Set when it is lost, and never when it is released."""
        if self._lost_event is None:
            event = self._lost_event = threading.Event()

            def tell(reason: tuple[str, str]) -> None:
                if reason[0] != "released":
                    event.set()

            self._native.on_lost(tell)
        return self._lost_event

    def txn(
        self,
        *,
        when: Iterable[Compare] = (),
        then: Iterable[Op] = (),
        otherwise: Iterable[Op] = (),
    ) -> TxnResult:
        """A transaction that the store refuses, with LockLostError, if this is not held."""
        return self._txn(when, then, otherwise).wait()

    def put(self, key: str | bytes, value: str | bytes) -> int:
        """Write `key` if this is still held; returns the revision."""
        return self.txn(then=[Op.put(key, value)]).revision

    def delete(self, key: str | bytes) -> int:
        """Delete `key` if this is still held; returns the revision."""
        return self.txn(then=[Op.delete(key)]).revision

    def _end(self) -> None:
        self._release().wait()

    def __enter__(self) -> Self:
        self._native.enter()
        return self


class HeldLock(Held):
    """A lock that is held until it is released or lost. Leaving a `with` block releases it."""

    def release(self) -> None:
        """Release it and wait for the answer. Raises LockLostError if it was lost before."""
        self._end()


class Term(Held):
    """A time of leading, until it is resigned or lost. Leaving a `with` block resigns."""

    def resign(self) -> None:
        """Resign and wait for the answer. Raises LeadershipLostError if it was lost before."""
        self._end()

    def proclaim(self, value: str | bytes) -> None:
        """Announce another value to observers."""
        self._proclaim(value).wait()


class Acquiring(Named, Generic[H]):
    """What can be held by entering it, by several threads at once."""

    def __init__(self, requests: Requests, options: LockOptions) -> None:
        self._requests = requests
        self._options = options
        self._entered: Entered[H] = Entered()

    def acquire(self) -> H:
        """Wait for it."""
        raise NotImplementedError

    def __enter__(self) -> H:
        held = self.acquire().__enter__()
        self._entered.push(threading.current_thread(), held)
        return held

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._entered.pop(threading.current_thread()).__exit__(kind, error, traceback)
