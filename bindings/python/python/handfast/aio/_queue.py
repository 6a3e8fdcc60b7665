"""Queues, for asyncio."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterable, Mapping
from types import TracebackType
from typing import Any

from .. import _native
from .._queue import QueueBase, WorkerOptions, ack_ops
from .._queue_types import AckedAndNext, DeadLetter, Pushed, QueueItem, QueueStatus, Why
from .._requests import Pending
from .._txn import Op
from ..errors import HandfastError
from ._held import Held


class Claim(Held):
    """An item that is worked on. Leaving `async with` acknowledges it, unless that was done.

    An error in the body gives it back as failed, a cancellation gives it back untried. The body is
    cancelled when the claim is lost.
    """

    def __init__(
        self,
        raw: tuple[Any, ...],
        name: bytes,
        worker: _native.Worker,
        cancel_on_lost: bool,
    ) -> None:
        native, self.id, self.payload, self.attempt = raw
        super().__init__(native, name, cancel_on_lost)
        self._worker = worker
        self._next: Claim | None = None
        self._settled = False

    @property
    def text(self) -> str:
        """The payload as text; raises UnicodeDecodeError if it is none."""
        return str(self.payload, "utf-8")

    async def ack(
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
        return await Pending(call, int).start()

    async def ack_and_next(
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

        Cancelling this stops neither; the next item is given back then, untried.
        """
        call = self._worker.ack_and_next(self._native, ack_ops(put, delete, then))
        self._settled = True
        return await Pending(call, self._went_on).start_to_its_end()

    def _went_on(self, raw: tuple[Any, ...]) -> AckedAndNext[Claim]:
        claimed, revision = raw
        if claimed is not None:
            self._next = Claim(claimed, self.name, self._worker, self._cancel_on_lost)
        return AckedAndNext(revision, self._next)

    def _take_next(self) -> Claim | None:
        """What was claimed with the acknowledgement, unless it is done with."""
        following, self._next = self._next, None
        return None if following is None or following._settled else following

    async def nack(self, why: str = "") -> bool:
        """Give it back as failed; `why` is shown to people. Whether it is a dead letter now."""
        self._settled = True
        return await Pending(self._native.nack(why), bool).start()

    async def release(self) -> None:
        """Give it back untried: the attempt does not count."""
        self._settled = True
        await self._give_back()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        lost, cancelled = self._true_loss(), self._end_body(error)
        if lost is not None and (error is None or cancelled) and not self._settled:
            raise lost from error
        if self._settled:
            return
        if error is None:
            await self.ack()
            return
        # What went wrong first is what the caller has to know.
        with contextlib.suppress(HandfastError):
            if isinstance(error, Exception):
                await self.nack(f"{type(error).__name__}: {error}")
            else:
                await self.release()


class Queue(QueueBase):
    """A queue by its name; made by `AsyncClient.queue`.

    Each item is given to one worker at a time, oldest first, until one acknowledges it: at least
    once, while what an acknowledgement writes is written once. Iterating takes items.
    """

    def __init__(self, native: _native.Queue, name: bytes, cancel_on_lost: bool) -> None:
        super().__init__(native, name)
        self._cancel_on_lost = cancel_on_lost

    async def push(
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
        return await self._push(payload, id, after, gate, opens).start()

    async def consume(
        self,
        *,
        max_attempts: int | None = None,
        strict: bool = False,
        timeout: float | None = None,
    ) -> AsyncIterator[Claim]:
        """Take one item after the other, for `async for`; ends when the queue is drained.

        `max_attempts`: after so many an item is a dead letter (default 5). `strict`: always the
        oldest, also with many workers. `timeout`: seconds to wait for an item, then TimeoutError.
        """
        given = WorkerOptions(
            max_attempts=max_attempts, strict=strict, timeout=timeout, once=False
        )
        worker = self._native.worker(given)
        following: Claim | None = None
        try:
            while (claim := following or await self._take(worker)) is not None:
                following = None
                try:
                    yield claim
                finally:
                    following = claim._take_next()
        finally:
            if following is not None:
                following._native.abandon()

    def __aiter__(self) -> AsyncIterator[Claim]:
        return self.consume()

    async def claim(
        self, *, timeout: float | None = None, max_attempts: int | None = None
    ) -> Claim | None:
        """Take one item; `None` if the queue is drained. Cancelling this claims nothing."""
        given = WorkerOptions(
            max_attempts=max_attempts, strict=False, timeout=timeout, once=True
        )
        return await self._take(self._native.worker(given))

    async def _take(self, worker: _native.Worker) -> Claim | None:
        def make(raw: tuple[Any, ...] | None) -> Claim | None:
            if raw is None:
                return None
            return Claim(raw, self.name, worker, self._cancel_on_lost)

        return await Pending(worker.next(), make).start_holding()

    async def run(self) -> None:
        """Let items be pushed and claimed."""
        await self._control("run").start()

    async def pause(self) -> None:
        """Let no item be claimed. Claims that are held go on."""
        await self._control("pause").start()

    async def drain(self) -> None:
        """Let no item be pushed. Workers end when none is left."""
        await self._control("drain").start()

    async def wait_for(
        self, *, count: int | None = None, gate: str | None = None, start: bool = False
    ) -> None:
        """What all items wait for: that `count` are ready at once, that a `gate` is open, that
        somebody calls `run` (`start`), or nothing."""
        await self._wait_for(count, gate, start).start()

    async def open_gate(self, gate: str) -> bool:
        """Open a gate by hand; whether it was shut."""
        return await self._open_gate(gate).start()

    async def list(self) -> tuple[QueueItem, ...]:
        """All items that are not done, oldest first, dead letters at the end."""
        return await self._list().start()

    async def status(self) -> QueueStatus:
        """How many items are in what."""
        return await self._status().start()

    async def why(self, id: str) -> Why:
        """What keeps an item from being claimed."""
        return await self._why(id).start()

    async def dead(self) -> tuple[DeadLetter, ...]:
        """The items that failed too often."""
        return await self._dead().start()

    async def retry(self, id: str) -> bool:
        """Put a dead letter back; whether there is one of this id."""
        return await self._retry(id).start()

