"""What can be asked of a server, for both the sync and the asyncio client.

Owns the arguments and the results. Whether somebody waits for it or awaits it is the choice of
the clients.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

from . import _logs, _native
from ._txn import Compare, Op, RawCompare, RawOp
from ._types import (
    CasResult,
    DeleteResult,
    KeyValue,
    Leader,
    LockLine,
    Member,
    PutResult,
    RangeResult,
    TxnResult,
    optional_leader,
    to_bytes,
)

T = TypeVar("T")
DEFAULT_ENDPOINT = "127.0.0.1:2379"


class Pending(Generic[T]):
    """A call that was put together and not made yet."""

    __slots__ = ("_call", "_convert")

    def __init__(self, call: _native.Call, convert: Callable[[Any], T]) -> None:
        self._call = call
        self._convert = convert

    def wait(self) -> T:
        """Make it, and block. Ctrl-C ends it."""
        return self._convert(self._call.wait())

    async def start(self) -> T:
        """Make it on the running loop. Cancelling the task ends it."""
        return self._convert(await self._call.start())

    async def start_holding(self) -> T:
        """Make it; if the task is cancelled when something is granted, give that back at once."""
        future = self._call.start()
        try:
            return self._convert(await future)
        except asyncio.CancelledError:
            if future.done():
                give_back(future)
            raise

    async def start_to_its_end(self) -> T:
        """Make it; it goes on if the task is cancelled, and what it is granted is given back."""
        future = self._call.start()
        try:
            return self._convert(await asyncio.shield(future))
        except asyncio.CancelledError:
            future.add_done_callback(give_back)
            raise


def give_back(granted: asyncio.Future[Any]) -> None:
    """Give back what was granted, if it was, for nobody will work with it."""
    if granted.cancelled() or granted.exception() is not None:
        return
    held = granted.result()
    while isinstance(held, tuple):
        held = held[0]
    if held is not None:
        held.abandon()


def nothing(_: object) -> None:
    """The result of a call that has none."""


def first_pair(raw: tuple[Any, ...]) -> KeyValue | None:
    """The one pair of a read of one key."""
    return next(iter(RangeResult.from_native(raw)), None)


def optional_member(raw: tuple[Any, ...] | None) -> Member | None:
    """Somebody, if there is anybody."""
    return None if raw is None else Member.from_native(raw)


def txn_parts(
    when: Iterable[Compare], then: Iterable[Op], otherwise: Iterable[Op]
) -> tuple[list[RawCompare], list[RawOp], list[RawOp]]:
    """A transaction in the native module's terms."""
    return (
        [compare.raw for compare in when],
        [op.raw for op in then],
        [op.raw for op in otherwise],
    )


class Requests:
    """Puts calls together."""

    def __init__(
        self,
        endpoints: list[str],
        *,
        ttl: float | None,
        namespace: str | bytes,
        timeout: float | None,
        beat: float | None,
        app: str | None,
    ) -> None:
        program = app or os.path.basename(sys.argv[0] if sys.argv else "") or "python"
        prefix = to_bytes(namespace, "namespace")
        _logs.connect()
        self.native = _native.Client(endpoints, prefix, ttl, timeout, beat, program)
        # What stays as it is although the program keeps no reference to it.
        self.kept: set[object] = set()

    def get(self, key: str | bytes, revision: int) -> Pending[KeyValue | None]:
        call = self.native.range(to_bytes(key), None, False, 0, revision, False)
        return Pending(call, first_pair)

    def range(
        self,
        key: str | bytes,
        end: str | bytes | None,
        prefix: bool,
        limit: int,
        revision: int,
        keys_only: bool,
    ) -> Pending[RangeResult]:
        to = None if end is None else to_bytes(end)
        call = self.native.range(to_bytes(key), to, prefix, limit, revision, keys_only)
        return Pending(call, RangeResult.from_native)

    def put(
        self, key: str | bytes, value: str | bytes, lease: int, prev_kv: bool
    ) -> Pending[PutResult]:
        call = self.native.put(to_bytes(key), to_bytes(value, "value"), lease, prev_kv)
        return Pending(call, PutResult.from_native)

    def delete(self, key: str | bytes, prefix: bool, prev_kv: bool) -> Pending[DeleteResult]:
        return Pending(
            self.native.delete(to_bytes(key), prefix, prev_kv), DeleteResult.from_native
        )

    def txn(
        self, when: Iterable[Compare], then: Iterable[Op], otherwise: Iterable[Op]
    ) -> Pending[TxnResult]:
        return Pending(
            self.native.txn(*txn_parts(when, then, otherwise)), TxnResult.from_native
        )

    def cas(
        self,
        key: str | bytes,
        expected: str | bytes | KeyValue | None,
        value: str | bytes,
        lease: int,
    ) -> Pending[CasResult]:
        match expected:
            case None:
                compare = Compare.missing(key)
            case KeyValue():
                compare = Compare.mod_revision(key, "==", expected.mod_revision)
            case _:
                compare = Compare.value(key, "==", expected)
        parts = txn_parts([compare], [Op.put(key, value, lease=lease)], [Op.get(key)])
        call = self.native.txn(*parts)
        return Pending(call, lambda raw: CasResult.of(TxnResult.from_native(raw)))

    def compact(self, revision: int) -> Pending[None]:
        return Pending(self.native.compact(revision), nothing)

    def close(self) -> Pending[None]:
        return Pending(self.native.close(), nothing)

    def lock_queue(self, name: bytes) -> Pending[LockLine]:
        return Pending(self.native.lock_queue(name), LockLine.from_native)

    def break_lock(self, name: bytes, why: str) -> Pending[Member | None]:
        return Pending(self.native.break_lock(name, why), optional_member)

    def break_leader(self, name: bytes, why: str) -> Pending[Member | None]:
        return Pending(self.native.break_leader(name, why), optional_member)

    def leader(self, name: bytes) -> Pending[Leader | None]:
        return Pending(self.native.leader(name), optional_leader)

    def candidates(self, name: bytes) -> Pending[LockLine]:
        return Pending(self.native.candidates(name), LockLine.from_native)
