"""Queues, for programs without asyncio; and what is common to both kinds of programs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, TypedDict

from . import _native
from ._frames import Named
from ._held import Held
from ._queue_types import (
    AckedAndNext,
    DeadLetter,
    Pushed,
    QueueItem,
    QueueStatus,
    Why,
    items,
    letters,
)
from ._requests import Pending, nothing
from ._txn import Op
from ._types import several, to_bytes
from .errors import HandfastError


class PushOptions(TypedDict):
    """What an item is, and what it waits for."""

    id: str | None
    after: list[str]
    gate: str | None
    opens: str | None


class WorkerOptions(TypedDict):
    """How items are taken."""

    max_attempts: int | None
    strict: bool
    timeout: float | None
    once: bool


class QueueBase(Named):
    """Puts the calls of a queue together."""

    def __init__(self, native: _native.Queue, name: bytes) -> None:
        self._native = native
        self.name = name

    def _push(
        self,
        payload: str | bytes,
        id: str | None,
        after: Iterable[str],
        gate: str | None,
        opens: str | None,
    ) -> Pending[Pushed]:
        given = PushOptions(id=id, after=several(after, "the ids in after"), gate=gate, opens=opens)
        call = self._native.push(to_bytes(payload, "payload"), given)
        return Pending(call, Pushed.from_native)

    def _control(self, word: str) -> Pending[None]:
        return Pending(self._native.control(word), nothing)

    def _wait_for(self, count: int | None, gate: str | None, start: bool) -> Pending[None]:
        if (count is not None) + (gate is not None) + start > 1:
            raise ValueError("one of count, gate and start at a time")
        return Pending(self._native.condition(count, gate, start), nothing)

    def _open_gate(self, gate: str) -> Pending[bool]:
        return Pending(self._native.open_gate(gate), bool)

    def _list(self) -> Pending[tuple[QueueItem, ...]]:
        return Pending(self._native.list(), items)

    def _status(self) -> Pending[QueueStatus]:
        return Pending(self._native.status(), QueueStatus.from_native)

    def _why(self, id: str) -> Pending[Why]:
        return Pending(self._native.why(id), Why.from_native)

    def _dead(self) -> Pending[tuple[DeadLetter, ...]]:
        return Pending(self._native.dead(), letters)

    def _retry(self, id: str) -> Pending[bool]:
        return Pending(self._native.retry(id), bool)


def ack_ops(
    put: Mapping[str, str | bytes] | None, delete: Iterable[str | bytes], then: Iterable[Op]
) -> list[Any]:
    """The writes of an acknowledgement in the native module's terms."""
    puts = [Op.put(key, value) for key, value in (put or {}).items()]
    deletes = [Op.delete(key) for key in several(delete, "the keys in delete")]
    return [op.raw for op in [*puts, *deletes, *then]]


class Claim(Held):
    """An item that is worked on. Leaving a `with` block acknowledges it, unless that was done.

    An error in the block gives it back as failed; an interrupt gives it back untried.
    """

    def __init__(self, raw: tuple[Any, ...], name: bytes, worker: _native.Worker) -> None:
        native, self.id, self.payload, self.attempt = raw
        super().__init__(native, name)
        self._worker = worker
        self._next: Claim | None = None
        self._settled = False

    @property
    def text(self) -> str:
        """The payload as text; raises UnicodeDecodeError if it is none."""
        return str(self.payload, "utf-8")

    def ack(
        self,
        *,
        put: Mapping[str, str | bytes] | None = None,
        delete: Iterable[str | bytes] = (),
        then: Iterable[Op] = (),
    ) -> int:
        """The item is done; returns the revision.

        What is to be written is written with it, at one revision, or not at all. Raises
        AckLostError if the claim is lost: then nothing was written.
        """
        call = self._native.ack(ack_ops(put, delete, then))
        self._settled = True
        return Pending(call, int).wait()

    def ack_and_next(
        self,
        *,
        put: Mapping[str, str | bytes] | None = None,
        delete: Iterable[str | bytes] = (),
        then: Iterable[Op] = (),
    ) -> AckedAndNext[Claim]:
        """As `ack`, and claims the next item in the same transaction, which saves a round trip.

        It does not wait: `next` is `None` when no item was there for the taking. A loop over
        `consume` goes on with `next` by itself, and gives it back if the loop is left. Raises
        AckLostError if the claim is lost: then nothing was written, and nothing claimed.
        """
        call = self._worker.ack_and_next(self._native, ack_ops(put, delete, then))
        self._settled = True
        return Pending(call, self._went_on).wait()

    def _went_on(self, raw: tuple[Any, ...]) -> AckedAndNext[Claim]:
        claimed, revision = raw
        if claimed is not None:
            self._next = Claim(claimed, self.name, self._worker)
        return AckedAndNext(revision, self._next)

    def _take_next(self) -> Claim | None:
        """What was claimed with the acknowledgement, unless it is done with."""
        following, self._next = self._next, None
        return None if following is None or following._settled else following

    def nack(self, why: str = "") -> bool:
        """Give it back as failed; `why` is shown to people. Whether it is a dead letter now."""
        self._settled = True
        return Pending(self._native.nack(why), bool).wait()

    def release(self) -> None:
        """Give it back untried: the attempt does not count."""
        self._settled = True
        self._end()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._settled:
            return
        if error is None:
            self.ack()
            return
        # What went wrong first is what the caller has to know.
        with contextlib.suppress(HandfastError):
            if isinstance(error, Exception):
                self.nack(f"{type(error).__name__}: {error}")
            else:
                self.release()


class Queue(QueueBase):
    """A queue by its name; made by `Client.queue`.

    Each item is given to one worker at a time, oldest first, until one acknowledges it: at least
    once, while what an acknowledgement writes is written once. Iterating takes items.
    """

    def push(
        self,
        payload: str | bytes,
        *,
        id: str | None = None,
        after: Iterable[str] = (),
        gate: str | None = None,
        opens: str | None = None,
    ) -> Pushed:
        """Add an item.

        `id`: accepted once, so that a repeated push is none. `after`: ids of items that must be
        acknowledged first. `gate`: it is kept back until this gate is open. `opens`: the gate
        that its acknowledgement opens. Raises DrainingError if the queue accepts none.
        """
        return self._push(payload, id, after, gate, opens).wait()

    def consume(
        self,
        *,
        max_attempts: int | None = None,
        strict: bool = False,
        timeout: float | None = None,
    ) -> Iterator[Claim]:
        """Take one item after the other, for `for`; ends when the queue is drained.

        `max_attempts`: after so many an item is a dead letter (default 5). `strict`: always the
        oldest, also with many workers. `timeout`: seconds to wait for an item, then TimeoutError.
        """
        given = WorkerOptions(
            max_attempts=max_attempts, strict=strict, timeout=timeout, once=False
        )
        worker = self._native.worker(given)
        following: Claim | None = None
        try:
            while (claim := following or self._take(worker)) is not None:
                following = None
                try:
                    yield claim
                finally:
                    following = claim._take_next()
        finally:
            if following is not None:
                following._native.abandon()

    def __iter__(self) -> Iterator[Claim]:
        return self.consume()

    def claim(
        self, *, timeout: float | None = None, max_attempts: int | None = None
    ) -> Claim | None:
        """Take one item; `None` if the queue is drained."""
        given = WorkerOptions(
            max_attempts=max_attempts, strict=False, timeout=timeout, once=True
        )
        return self._take(self._native.worker(given))

    def _take(self, worker: _native.Worker) -> Claim | None:
        raw = worker.next().wait()
        return None if raw is None else Claim(raw, self.name, worker)

    def run(self) -> None:
        """Let items be pushed and claimed."""
        self._control("run").wait()

    def pause(self) -> None:
        """Let no item be claimed. Claims that are held go on."""
        self._control("pause").wait()

    def drain(self) -> None:
        """Let no item be pushed. Workers end when none is left."""
        self._control("drain").wait()

    def wait_for(
        self, *, count: int | None = None, gate: str | None = None, start: bool = False
    ) -> None:
        """What all items wait for: that `count` are ready at once, that a `gate` is open, that
        somebody calls `run` (`start`), or nothing."""
        self._wait_for(count, gate, start).wait()

    def open_gate(self, gate: str) -> bool:
        """Open a gate by hand; whether it was shut."""
        return self._open_gate(gate).wait()

    def list(self) -> tuple[QueueItem, ...]:
        """All items that are not done, oldest first, dead letters at the end."""
        return self._list().wait()

    def status(self) -> QueueStatus:
        """How many items are in what."""
        return self._status().wait()

    def why(self, id: str) -> Why:
        """What keeps an item from being claimed."""
        return self._why(id).wait()

    def dead(self) -> tuple[DeadLetter, ...]:
        """The items that failed too often."""
        return self._dead().wait()

    def retry(self, id: str) -> bool:
        """Put a dead letter back; whether there is one of this id."""
        return self._retry(id).wait()
