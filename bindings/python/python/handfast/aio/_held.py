"""Holding and leading, for asyncio: the body of an `async with` is cancelled on loss."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Generator, Iterable
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from .. import _native
from .._frames import Named
from .._holding import Entered, Holding, LockOptions
from .._requests import Requests
from .._txn import Compare, Op
from .._types import TxnResult
from ..errors import HandfastError

H = TypeVar("H", bound="Held")


class _Body:
    """The task that runs the body of an `async with`, and its cancellation on loss."""

    def __init__(self, lost: asyncio.Future[Any]) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("`async with` on a lock needs a task to cancel on loss")
        self._task = task
        # As asyncio.timeout() does it: what was cancelled before is not ours to undo.
        self._cancelling = task.cancelling()
        self._lost = lost
        self._cancelled = False
        self._ended = False
        lost.add_done_callback(self._on_lost)

    def _on_lost(self, lost: asyncio.Future[Any]) -> None:
        # The loop may have it scheduled already when the body ends.
        if self._ended or lost.cancelled() or lost.exception() is not None:
            return
        reason, _ = lost.result()
        # A body that gives it back by itself goes on.
        if reason != "released":
            self._cancelled = True
            self._task.cancel()

    def end(self, error: BaseException | None) -> bool:
        """Whether the body has ended because this has cancelled it, and for no other reason."""
        self._ended = True
        self._lost.cancel()
        if not self._cancelled:
            return False
        others = self._task.uncancel() > self._cancelling
        return not others and isinstance(error, asyncio.CancelledError)


class Held(Holding):
    """Something that is held: what locks, elections and the like have in common."""

    def __init__(self, native: _native.Holding, name: bytes, cancel_on_lost: bool) -> None:
        super().__init__(native, name)
        self._cancel_on_lost = cancel_on_lost
        self._body: _Body | None = None

    async def wait_lost(self) -> str:
        """Wait until it is lost or released, and tell why, in a stable word."""
        reason, _ = await self._native.lost().start()
        return str(reason)

    async def txn(
        self,
        *,
        when: Iterable[Compare] = (),
        then: Iterable[Op] = (),
        otherwise: Iterable[Op] = (),
    ) -> TxnResult:
        """A transaction that the store refuses, with LockLostError, if this is not held."""
        return await self._txn(when, then, otherwise).start()

    async def put(self, key: str | bytes, value: str | bytes) -> int:
        """Write `key` if this is still held; returns the revision."""
        return (await self.txn(then=[Op.put(key, value)])).revision

    async def delete(self, key: str | bytes) -> int:
        """Delete `key` if this is still held; returns the revision."""
        return (await self.txn(then=[Op.delete(key)])).revision

    async def _give_back(self) -> None:
        # Cancelling the wait for the answer does not stop it.
        await self._release().start()

    def _end_body(self, error: BaseException | None) -> bool:
        """Whether the body has ended because it was cancelled on loss."""
        body, self._body = self._body, None
        return body.end(error) if body is not None else False

    async def __aenter__(self) -> Self:
        if self._body is not None:
            raise RuntimeError("it was entered before")
        self._native.enter()
        if self._cancel_on_lost:
            self._body = _Body(self._native.lost().start())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        lost = self._true_loss()
        release = self._release()
        cancelled = self._end_body(error)
        try:
            await release.start()
        except HandfastError:
            if error is None and lost is None:
                raise
        if lost is not None and (error is None or cancelled):
            raise lost from error


class HeldLock(Held):
    """A lock that is held until it is released or lost. Leaving `async with` releases it."""

    async def release(self) -> None:
        """Release it and wait for the answer. Raises LockLostError if it was lost before.

        Cancelling this does not stop the release.
        """
        await self._give_back()


class Term(Held):
    """A time of leading, until it is resigned or lost. Leaving `async with` resigns."""

    async def resign(self) -> None:
        """Resign and wait for the answer. Raises LeadershipLostError if it was lost before.

        Cancelling this does not stop it.
        """
        await self._give_back()

    async def proclaim(self, value: str | bytes) -> None:
        """Announce another value to observers."""
        await self._proclaim(value).start()


def in_loop(options: LockOptions) -> LockOptions:
    """The same, with `on_wait` called by the running loop."""
    tell = options["on_wait"]
    if tell is None:
        return options
    loop = asyncio.get_running_loop()

    def told(raw: tuple[Any, ...]) -> None:
        # A loop that is closed has nobody left who waits.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(tell, raw)

    return LockOptions(**{**options, "on_wait": told})


class Acquiring(Named, Generic[H]):
    """What can be held by entering or awaiting it, by several tasks at once."""

    def __init__(
        self, requests: Requests, options: LockOptions, cancel_on_lost: bool
    ) -> None:
        self._requests = requests
        self._options = options
        self._cancel_on_lost = cancel_on_lost
        self._entered: Entered[H] = Entered()

    def _in_loop(self) -> LockOptions:
        return in_loop(self._options)

    async def acquire(self) -> H:
        """Wait for it."""
        raise NotImplementedError

    def __await__(self) -> Generator[Any, None, H]:
        return self.acquire().__await__()

    async def __aenter__(self) -> H:
        held = await self.acquire()
        await held.__aenter__()
        self._entered.push(asyncio.current_task(), held)
        return held

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        held = self._entered.pop(asyncio.current_task())
        await held.__aexit__(kind, error, traceback)
