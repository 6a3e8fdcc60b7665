"""Watches and observers for asyncio: async iterators that lose nothing when cancelled."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, Protocol, Self

from .. import _native
from .._types import Event, Leader, optional_leader


class _Source(Protocol):
    def next(self, timeout: float | None = None) -> _native.Call: ...
    def close(self) -> None: ...


class Feed:
    """Takes one item at a time from a native stream."""

    def __init__(self, native: _Source) -> None:
        self._native = native
        self._coming: asyncio.Future[Any] | None = None

    async def take(self) -> Any:
        """The next item; `None` after the last."""
        if self._coming is None or self._coming.cancelled():
            self._coming = self._native.next().start()
        # An item that arrives while the caller is cancelled stays here for the next call.
        item = await asyncio.shield(self._coming)
        self._coming = None
        return item

    def close(self) -> None:
        """End the stream, and the wait of whoever waits for an item."""
        self._native.close()


class Watch:
    """The changes of keys, in order, as an async iterator.

    It heals by itself over lost connections. Cancelling a wait for the next change, with
    `asyncio.timeout` for one, loses nothing. Raises CompactedError when changes to be reported
    are gone.
    """

    def __init__(self, native: _native.Watch) -> None:
        self._feed = Feed(native)
        self._events: deque[Event] = deque()
        self.revision = 0

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        if not self._events:
            batch = await self._feed.take()
            if batch is None:
                raise StopAsyncIteration
            self.revision, raw = batch
            self._events.extend(Event.from_native(event) for event in raw)
        return self._events.popleft()

    async def close(self) -> None:
        """Cancel the watch."""
        self._feed.close()


class Observer:
    """Who leads: the leader now, then each change; `None` means that nobody leads."""

    def __init__(self, native: _native.Observer) -> None:
        self._feed = Feed(native)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Leader | None:
        told = await self._feed.take()
        if told is None:
            raise StopAsyncIteration
        return optional_leader(told[0])

    async def close(self) -> None:
        """Stop observing."""
        self._feed.close()
